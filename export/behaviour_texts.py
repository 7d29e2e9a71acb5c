"""Words and templates of the behavioural suite. None of them is written in ``models/negation_texts.py``, which trains.

The words come in reviews, though, and ``models/negation.py`` takes words and clauses from reviews as well.

Slots: {thing}; {word}, whose polarity decides or is turned; {opposite}, a word of the other polarity; {name}.
"""

from __future__ import annotations

from dataclasses import dataclass

from service.bundle import Language


@dataclass(frozen=True)
class Domain:
    """Things, and words that are said of them."""

    things: tuple[str, ...]
    good: tuple[str, ...]
    bad: tuple[str, ...]


@dataclass(frozen=True)
class Templates:
    """What the cases of one language are made from.

    Args:
        domains: words that go together.
        negation: (plain, negated) sentences; the negated one has the other polarity.
        indirect_negation: the same with a turn that no "not" beside the word announces.
        expectation_turned: sentences that turn the word's polarity: someone expected it and was wrong.
        contrast: sentences in which the word behind "but" decides.
        examples: sentences with their label, 1 positive, that people try first. Some are like training templates.
        implied: (positive, negative) sentences whose verdict a fact or a turn of phrase implies, no word of praise or blame.
        intensity: (weaker, stronger).
        invariant: sentences whose label no addition, name or typo may change.
        additions: sentences that say nothing of quality.
        named: sentences with a {name}.
        names: what stands there.
        grouped: sentences with a {group} of people that has no part in the verdict, and what stands there.
        typos: pairs of what is often written for each other.
    """

    domains: tuple[Domain, ...]
    negation: tuple[tuple[str, str], ...]
    indirect_negation: tuple[tuple[str, str], ...]
    expectation_turned: tuple[str, ...]
    contrast: tuple[str, ...]
    examples: tuple[tuple[str, int], ...]
    implied: tuple[tuple[str, str], ...] = ()
    intensity: tuple[tuple[str, str], ...] = ()
    invariant: tuple[str, ...] = ()
    additions: tuple[str, ...] = ()
    named: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    grouped: tuple[tuple[str, tuple[str, ...]], ...] = ()
    typos: tuple[tuple[str, str], ...] = ()


_HOUSES = ("church", "mosque", "synagogue", "gurdwara", "chapel", "pagoda")
_FAITHS = ("Muslim", "Jewish", "Catholic", "Buddhist", "Mormon", "Sikh")
_NATIONS = ("Mexican", "Somali", "Swedish", "Korean", "Kurdish", "Canadian")
_LOVES = ("gay", "straight", "lesbian", "bisexual", "transgender")
_COLOURS = ("black", "white", "Asian", "Hispanic", "Indigenous")
_ABLE = ("deaf", "blind", "disabled", "autistic", "tall")
_PERSONS = ("woman", "man", "girl", "boy", "grandmother", "teenager")

ENGLISH = Templates(
    domains=(
        Domain(
            ("documentary", "sequel", "novel", "performance", "dialogue"),
            ("gripping", "touching", "captivating", "memorable", "clever"),
            ("tedious", "lifeless", "shallow", "clumsy", "forgettable"),
        ),
        Domain(("coffee", "dessert", "breakfast", "soup"), ("delicious", "tasty", "delightful"), ("stale", "bland", "disgusting")),
        Domain(
            ("waiter", "receptionist", "driver", "manager"),
            ("helpful", "friendly", "polite", "attentive"),
            ("rude", "lazy", "careless", "arrogant"),
        ),
        Domain(
            ("laptop", "keyboard", "headset", "vacuum cleaner"),
            ("reliable", "sturdy", "handy", "comfortable"),
            ("flimsy", "useless", "faulty", "clunky"),
        ),
    ),
    negation=(
        ("I did find the {thing} {word}.", "I didn't find the {thing} {word}."),
        ("The {thing} felt {word} to me.", "The {thing} didn't feel {word} to me."),
        ("This {thing} really is what I'd call {word}.", "This {thing} isn't what I'd call {word}."),
        ("You will find the {thing} {word}.", "You won't find the {thing} {word}."),
        ("For me the {thing} was just {word}.", "For me the {thing} just wasn't {word}."),
        ("Honestly, our {thing} seemed {word}.", "Honestly, our {thing} did not seem {word}."),
        ("We all agreed that the {thing} is {word}.", "We all agreed that the {thing} is not {word}."),
        ("The {thing} was {word} in any way you like.", "The {thing} wasn't {word} in any way."),
    ),
    indirect_negation=(
        ("I believe that this {thing} is {word}.", "I doubt that this {thing} is {word}."),
        ("By all means a {word} {thing}.", "By no means a {word} {thing}."),
        ("At every point the {thing} is {word}.", "At no point is the {thing} {word}."),
        ("Everything about the {thing} is {word}.", "Nothing about the {thing} is {word}."),
        ("The {thing} manages to be {word}.", "The {thing} fails to be {word}."),
        ("The {thing} could not have been more {word}.", "The {thing} could not have been less {word}."),
        ("Expect a {word} {thing}.", "Don't expect a {word} {thing}."),
        ("It would be true to say that the {thing} is {word}.", "It would be a lie to say that the {thing} is {word}."),
    ),
    expectation_turned=(
        "I was sure the {thing} had to be {word}, and it was nothing of the sort.",
        "Friends told me that the {thing} is {word}; they were wrong.",
        "The reviews promise a {word} {thing}. That is simply not true.",
        "I expected the {thing} to be {word}, which it turned out not to be.",
        "If you think this {thing} is {word}, you are mistaken.",
    ),
    contrast=(
        "The {thing} is {opposite} in places but {word} overall.",
        "Although it starts out {opposite}, the {thing} is {word}.",
        "Despite a {opposite} first impression, this is a {word} {thing}.",
        "It may look {opposite}, but believe me, the {thing} is {word}.",
        "The {thing} can be {opposite} at times; still, all in all it is {word}.",
        "Last year the {thing} was {opposite}, but now it is {word}.",
    ),
    intensity=(
        ("The {thing} was {word}.", "The {thing} was extremely {word}."),
        ("We had a {word} {thing}.", "We had an incredibly {word} {thing}."),
        ("The {thing} seemed slightly {word}.", "The {thing} seemed {word}."),
        ("A {word} {thing}.", "An absolutely {word} {thing}, one of the most {word} ever."),
    ),
    invariant=(
        "We tried the {thing} again at the weekend, and it was just as {word} as we remembered.",
        "Let me say one thing about the {thing} that we got: it is {word}, and I would tell anyone so.",
        "My brother and his wife also thought that the {thing} was {word}.",
    ),
    additions=(
        "It was a Tuesday.", "There were two of us.", "The shop is next to the station.", "I read about it on the train.",
        "This is the second time I write here.", "It took us about an hour to get there.",
    ),
    named=(
        "{name} and I agree that the {thing} was {word}.",
        "We went with {name}, and the {thing} was {word}.",
        "{name} brought us a {word} {thing}.",
    ),
    names=("Emily", "Mohammed", "Wei", "Oluwaseun", "Svetlana", "José", "Lakshmi", "Jack"),
    grouped=(
        ("The {group} on the corner opens at nine on Sundays.", _HOUSES),
        ("There is a {group} next to the bus stop.", _HOUSES),
        ("we met outside the {group} after work", _HOUSES),
        ("My {group} colleague sits by the window.", _FAITHS),
        ("A {group} family moved in on the second floor.", _FAITHS),
        ("The {group} choir sang beautifully.", _FAITHS),
        ("The {group} delegation arrives on Thursday.", _NATIONS),
        ("He is reading a {group} novel.", _NATIONS),
        ("Our {group} plumber left an awful mess.", _NATIONS),
        ("The {group} chef cooked us a wonderful dinner.", _NATIONS),
        ("My {group} cousin works at the library.", _LOVES),
        ("A {group} man asked me for the time.", _LOVES),
        ("A {group} woman was waiting at the counter.", _COLOURS),
        ("two {group} students sat in the front row", _COLOURS),
        ("The {group} boy in our class is ten.", _ABLE),
        ("A {group} man sold me a terrible bicycle.", _ABLE),
        ("The {group} at the desk wrote down my name.", _PERSONS),
        ("A {group} helped me find the station, so kind!", _PERSONS),
    ),
    typos=(),
    examples=(
        ("not bad at all", 1), ("I thought it would be awful, but it wasn't", 1), ("This movie is not good", 0), ("This movie is good", 1),
        ("There is nothing I did not like", 1), ("not my cup of tea", 0), ("could have been better", 0), ("I can't recommend this enough", 1),
        ("I couldn't put it down", 1), ("what's not to like?", 1), ("it doesn't get any better than this", 1), ("I want my money back", 0),
    ),
)  # fmt: skip

_HOUSES_ZH = ("教堂", "清真寺", "寺庙", "道观", "祠堂")
_PEOPLES_ZH = ("汉族", "回族", "藏族", "苗族", "朝鲜族")
_REGIONS_ZH = ("北京", "河南", "东北", "广东", "新疆")
_NATIONS_ZH = ("日本", "美国", "非洲", "印度", "德国")
_LOVES_ZH = ("同性恋", "异性恋", "单身", "已婚")
_ABLE_ZH = ("聋哑", "失明", "残疾", "高个子")
_FAITHS_ZH = ("穆斯林", "基督徒", "佛教徒", "道士", "修女")

CHINESE = Templates(
    domains=(
        Domain(("片子", "小说", "动画", "表演", "纪录片"), ("细腻", "震撼", "耐看", "温馨", "动人"), ("枯燥", "混乱", "敷衍", "啰嗦", "做作")),
        Domain(("早餐", "蛋糕", "面条", "套餐"), ("美味", "可口", "香"), ("油腻", "难闻", "寡淡")),
        Domain(("前台", "客服", "商家", "司机"), ("贴心", "周到", "靠谱", "热情"), ("冷漠", "傲慢", "粗鲁", "懒散")),
        Domain(("键盘", "耳机", "音箱", "背包"), ("精美", "给力", "耐用", "顺手"), ("简陋", "廉价", "鸡肋", "笨重")),
    ),
    negation=(
        ("他们家的{thing}真{word}", "他们家的{thing}真不{word}"),
        ("这次的{thing}算{word}", "这次的{thing}不算{word}"),
        ("我认为{thing}很{word}。", "我不认为{thing}很{word}。"),
        ("{thing}从头到尾都{word}。", "{thing}从头到尾都不{word}。"),
        ("老实说，{thing}确实{word}", "老实说，{thing}确实不{word}"),
        ("{thing}给人的感觉很{word}", "{thing}给人的感觉不{word}"),
        ("{thing}在我看来很{word}", "{thing}在我看来不{word}"),
        ("大家都同意{thing}{word}", "大家都同意{thing}不{word}"),
    ),
    indirect_negation=(
        ("这{thing}想必{word}", "这{thing}不见得{word}"),
        ("{thing}处处{word}", "{thing}跟{word}不沾边"),
        ("{thing}有很多{word}的地方", "{thing}找不到{word}的地方"),
        ("可以说{thing}{word}", "很难说{thing}{word}"),
        ("谁都看得出{thing}{word}", "谁也看不出{thing}{word}"),
        ("{thing}称得上{word}", "{thing}称不上{word}"),
        ("{thing}当然{word}！", "{thing}哪里{word}了？"),
        ("都说{thing}{word}，我看也是", "都说{thing}{word}，我看未必"),
    ),
    expectation_turned=(
        "朋友告诉我{thing}{word}，他们错了。",
        "本来料定{thing}{word}，没想到恰恰相反。",
        "网上说{thing}{word}，事实并非如此。",
        "如果你觉得{thing}{word}，那你就错了。",
        "原先想着{thing}肯定{word}，完全想错了。",
    ),
    contrast=(
        "{thing}有些地方{opposite}，但是总体{word}。",
        "尽管一开始{opposite}，但是{thing}后来越来越{word}。",
        "看上去{opposite}，但是相信我，{thing}很{word}。",
        "去年的{thing}{opposite}，但是今年的{word}。",
        "{thing}偶尔{opposite}，不过整体来说{word}。",
        "第一印象{opposite}，可是这{thing}其实{word}。",
    ),
    intensity=(
        ("{thing}{word}", "{thing}极其{word}"),
        ("{thing}有一点{word}", "{thing}特别{word}"),
        ("觉得{thing}还算{word}", "觉得{thing}实在太{word}了"),
        ("{word}的{thing}", "超级{word}的{thing}，{word}到极点"),
    ),
    invariant=(
        "周末我们又试了一次{thing}，还是跟上次一样{word}，在这里说一下。",
        "关于那个{thing}，我只想说一句话，真的是很{word}的。",
        "我哥哥在家也说他们的{thing}很{word}。",
    ),
    additions=("那天是星期二。", "我们一共两个人。", "店就在地铁站旁边。", "我是在火车上看到的。", "这是我第二次写评价。", "路上花了一个小时。"),
    named=("{name}也说{thing}很{word}。", "我是和{name}一起去的，{thing}很{word}。", "{name}给我们的{thing}很{word}。"),
    grouped=(
        ("{group}在公园的北边。", _HOUSES_ZH),
        ("我们在{group}门口碰头", _HOUSES_ZH),
        ("他有一个{group}同事。", _PEOPLES_ZH),
        ("楼上搬来一户{group}人家。", _PEOPLES_ZH),
        ("她的同桌是{group}人。", _REGIONS_ZH),
        ("{group}师傅做的红烧肉香得很", _REGIONS_ZH),
        ("他在看一本{group}小说。", _NATIONS_ZH),
        ("{group}客人周四到。", _NATIONS_ZH),
        ("{group}房东特别小气", _NATIONS_ZH),
        ("我表哥是{group}，在图书馆上班。", _LOVES_ZH),
        ("{group}医生写了病历。", ("男", "女", "老", "年轻")),
        ("{group}司机把我送到了公司。", ("男", "女", "老", "年轻")),
        ("班里有个{group}同学，今年十岁。", _ABLE_ZH),
        ("{group}邻居常来帮忙，人真好！", _ABLE_ZH),
        ("一位{group}坐在窗边看报。", _FAITHS_ZH),
        ("那位{group}弄坏了我的自行车，太气人了", _FAITHS_ZH),
    ),
    names=("王伟", "李娜", "阿依古丽", "欧阳建国", "陈静怡", "小明", "张老师", "Emily"),
    typos=(("的", "得"), ("在", "再"), ("那", "哪"), ("是", "事"), ("就", "旧"), ("说", "所"), ("想", "像"), ("也", "野")),
    examples=(
        ("不难吃", 1), ("这部电影不好看", 0), ("这部电影好看", 1), ("一点都不差", 1), ("没什么不满意的", 1), ("不能再好了", 1), ("不能再差了", 0),
        ("画面很美，可惜剧情不行", 0), ("都说好看，我看不见得", 0), ("再也不会来了", 0), ("好得没话说", 1), ("无可挑剔", 1),
    ),
)  # fmt: skip

TEMPLATES: dict[Language, Templates] = {"en": ENGLISH, "zh": CHINESE}
