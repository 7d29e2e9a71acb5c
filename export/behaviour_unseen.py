"""A second behavioural set, written without sight of the training templates.

Its words and frames are not those of ``export/behaviour_texts.py``; most of its words train, none of its turned frames does.
"""

from __future__ import annotations

from export.behaviour_texts import Domain, Templates
from service.bundle import Language

ENGLISH_UNSEEN = Templates(
    domains=(
        Domain(
            ("movie", "comedy", "thriller", "script", "story", "TV show"),
            ("entertaining", "enjoyable", "interesting", "engaging", "exciting"),
            ("boring", "dull", "annoying", "predictable", "pretentious"),
        ),
        Domain(
            ("pizza", "burger", "steak", "omelette", "lasagna"),
            ("flavorful", "yummy", "fresh", "appetizing", "satisfying"),
            ("greasy", "tasteless", "disappointing", "rubbery"),
        ),
        Domain(
            ("cashier", "nurse", "bartender", "landlord", "technician", "dentist"),
            ("kind", "courteous", "pleasant", "considerate", "professional"),
            ("grumpy", "impatient", "disrespectful", "unprofessional", "condescending"),
        ),
        Domain(
            ("hotel", "apartment", "cottage", "hostel", "guest room"),
            ("clean", "cozy", "charming", "inviting", "lovely"),
            ("dirty", "shabby", "gloomy", "smelly", "cramped"),
        ),
    ),
    negation=(
        ("If you ask me, the {thing} is very {word}.", "If you ask me, the {thing} is not {word} at all."),
        ("I have always found the {thing} {word}.", "I have never found the {thing} {word}."),
        ("I'd certainly call the {thing} {word}.", "I'd hardly call the {thing} {word}."),
        ("Both my husband and I found the {thing} {word}.", "Neither my husband nor I found the {thing} {word}."),
        ("Everyone in our group would say that this {thing} is {word}.", "No one in our group would say that this {thing} is {word}."),
        ("What we got was a {word} {thing}.", "What we got was not a {word} {thing}."),
        ("More than once I thought that the {thing} was {word}.", "Not once did I think that the {thing} was {word}."),
        ("The {thing} strikes me as {word}.", "The {thing} doesn't strike me as {word}."),
        ("I'm telling you, this {thing} is {word}.", "I'm telling you, this {thing} ain't {word}."),
        ("The {thing} was truly {word}.", "The {thing} was not even remotely {word}."),
    ),
    indirect_negation=(
        ("If there is one thing the {thing} is, it's {word}.", "If there is one thing the {thing} isn't, it's {word}."),
        ("It's a fact that the {thing} is {word}.", "It's a myth that the {thing} is {word}."),
        ("I'd be the first to call the {thing} {word}.", "I'd be the last to call the {thing} {word}."),
        ("I can see why people call this {thing} {word}.", "I fail to see how anyone could call this {thing} {word}."),
        ("Any fool can tell that the {thing} is {word}.", "Only a fool would say that the {thing} is {word}."),
    ),
    expectation_turned=(
        "Everybody had told me the {thing} would be {word}, but that was completely wrong.",
        "My colleague swore that this {thing} was {word}. How wrong she was!",
        "I read somewhere that the {thing} is {word}, but my experience was quite the opposite.",
        "Going in, I assumed the {thing} would be {word}; I couldn't have been more wrong.",
        "I was prepared for a {word} {thing} and got the exact opposite.",
        "You may have heard that the {thing} is {word}. Don't believe it.",
    ),
    contrast=(
        "Other reviewers found the {thing} {opposite}, but to us the {thing} was clearly {word}.",
        "In the beginning I thought the {thing} was {opposite}; soon, however, I realized how {word} the {thing} really was.",
        "I was going to write that the {thing} is {opposite}, but to be honest, the {thing} is {word}.",
        "The last {thing} was {opposite}, but this one is really {word}.",
        "Rumor has it that the {thing} is {opposite}, yet everyone in our family found the {thing} {word}.",
        "A {opposite} {thing}? Maybe to other people, but to me a very {word} one.",
    ),
    examples=(
        ("not too shabby", 1), ("You can't go wrong with this one", 1), ("I have nothing to complain about", 1), ("It didn't disappoint", 1),
        ("I wouldn't change a thing", 1), ("You won't regret it", 1), ("I wouldn't hesitate to go back", 1), ("Never a dull moment", 1),
        ("nothing to write home about", 0), ("I wouldn't go back if you paid me", 0), ("Don't waste your time", 0), ("not worth the money", 0),
        ("It did not live up to the hype", 0), ("I can't say that I enjoyed it", 0), ("I couldn't wait for it to end", 0),
        ("it leaves a lot to be desired", 0),
    ),
)  # fmt: skip

CHINESE_UNSEEN = Templates(
    domains=(
        Domain(
            ("电影", "电视剧", "综艺", "漫画", "舞台剧"),
            ("精彩", "有趣", "吸引人", "生动", "新颖"),
            ("无聊", "拖沓", "老套", "沉闷", "幼稚"),
        ),
        Domain(("烤鱼", "烤鸭", "炒饭", "饺子", "烧烤"), ("好吃", "入味", "地道", "诱人", "正宗"), ("倒胃口", "差劲", "让人失望", "干硬")),
        Domain(
            ("服务员", "店员", "医生", "导游", "教练"),
            ("耐心", "友好", "亲切", "细心", "专业"),
            ("冷淡", "粗心", "势利", "马虎", "蛮横"),
        ),
        Domain(
            ("手机", "鼠标", "吹风机", "电饭锅", "手表", "充电宝"),
            ("实用", "好用", "精致", "省心"),
            ("难用", "粗糙", "糟心", "坑人"),
        ),
    ),
    negation=(
        ("个人感觉{thing}挺{word}的", "个人感觉{thing}并不{word}"),
        ("我真的觉得{thing}很{word}", "我丝毫没觉得{thing}{word}"),
        ("{thing}是真的{word}啊", "{thing}是真的一点也不{word}"),
        ("我一直觉得他们的{thing}很{word}。", "我从没觉得他们的{thing}{word}。"),
        ("身边每一个人都会说{thing}{word}", "身边没有一个人会说{thing}{word}"),
        ("{thing}绝对可以算是{word}的", "{thing}绝对不能算是{word}的"),
        ("{thing}属于{word}的那一类。", "{thing}不属于{word}的那一类。"),
        ("完全可以用“{word}”来形容{thing}", "完全不能用“{word}”来形容{thing}"),
        ("不管别人怎么讲，{thing}就是{word}", "不管别人怎么讲，{thing}就是不{word}"),
        ("我和老公都觉得{thing}{word}", "我和老公都不觉得{thing}{word}"),
    ),
    indirect_negation=(
        ("{thing}可以说非常{word}", "{thing}根本谈不上{word}"),
        ("{thing}真的超{word}", "{thing}跟{word}完全是两码事"),
        ("谁都会觉得{thing}{word}吧", "谁会觉得{thing}{word}啊？"),
        ("说{thing}{word}？确实如此！", "说{thing}{word}？才怪！"),
        ("说{thing}{word}的都是大实话", "说{thing}{word}的都是在瞎说"),
        ("{thing}确确实实很{word}", "{thing}离{word}有十万八千里"),
        ("这{thing}要多{word}有多{word}", "这{thing}要是{word}，太阳就从西边出来了"),
        ("要说{thing}{word}，我第一个同意", "要说{thing}{word}，我第一个反对"),
    ),
    expectation_turned=(
        "之前听人讲{thing}很{word}，结果完全不是那么回事。",
        "还以为{thing}肯定很{word}，是我想多了。",
        "老公非说{thing}{word}，结果被狠狠打脸。",
        "好多评论都提到{thing}{word}，别信，根本没这回事。",
        "我跟同事打赌说{thing}一定{word}，结果我输了。",
        "心里早就认定{thing}{word}，现实却刚好反过来。",
    ),
    contrast=(
        "虽然有人说{thing}{opposite}，但我觉得很{word}。",
        "上一次的{thing}很{opposite}，然而这一次的非常{word}。",
        "本来想写{thing}{opposite}的，可是凭良心讲，{thing}很{word}。",
        "也许你会觉得{thing}{opposite}，但在我们全家人眼里，{thing}非常{word}。",
        "别的{thing}可能{opposite}，可是这次的{thing}真的很{word}。",
        "起初以为{thing}{opposite}，然而后来发现真的很{word}。",
    ),
    examples=(
        ("没白跑一趟", 1), ("挑不出毛病", 1), ("没让我失望", 1), ("一点也不后悔买了它", 1), ("价格不贵，味道也不差", 1), ("不虚此行", 1),
        ("闭着眼买都不会踩雷", 1), ("怎么看都看不腻", 1), ("没有下次了", 0), ("不值这个价", 0), ("实在不敢恭维", 0), ("好不到哪里去", 0),
        ("看到一半就看不下去了", 0), ("吃了一口就不想再吃了", 0), ("没有宣传的那么好", 0), ("不会推荐给任何人", 0),
    ),
)  # fmt: skip

UNSEEN: dict[Language, Templates] = {"en": ENGLISH_UNSEEN, "zh": CHINESE_UNSEEN}
