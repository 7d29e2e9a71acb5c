"""Templated negation: short pairs in which one word turns the verdict, mixed into a classifier's training texts.

The behavioural suite in ``export/behaviour.py`` tests with other templates and other words.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Literal

# Slots: {thing}, and {good} or {bad}, whose polarity the template keeps or turns.
ENGLISH_THINGS = [
    "movie", "film", "story", "plot", "acting", "script", "cast", "ending", "soundtrack", "food", "service", "hotel", "room",
    "phone", "camera", "book", "game", "show", "restaurant", "staff", "design", "battery", "screen", "flight", "price",
]  # fmt: skip
ENGLISH_GOOD = [
    "good", "great", "excellent", "amazing", "wonderful", "funny", "interesting", "enjoyable", "impressive", "fantastic",
    "brilliant", "entertaining", "nice", "beautiful", "perfect", "pleasant", "well made", "worth it", "convincing", "charming",
]  # fmt: skip
ENGLISH_BAD = [
    "bad", "terrible", "awful", "boring", "horrible", "dull", "disappointing", "poor", "ugly", "stupid", "annoying", "weak",
    "slow", "predictable", "a waste of time", "broken", "overpriced", "painful", "ridiculous", "unpleasant",
]  # fmt: skip
ENGLISH_KEEP = [
    "the {thing} is {word}", "this {thing} was {word}.", "I think the {thing} is really {word}.", "{word} {thing}",
    "a very {word} {thing}", "what a {word} {thing}!", "the {thing} is so {word}", "I found the {thing} {word}.",
    "everyone said the {thing} is {opposite}, but it is {word}.", "I expected a {opposite} {thing}. It was {word}.",
    "the first part is {opposite}, but the {thing} is {word}.", "it looked {opposite} at first, yet it turned out {word}.",
    "not only is the {thing} {word}, the rest is {word} too.", "I have never seen such a {word} {thing}.",
    "I was afraid it would be {opposite}, but no, it is {word}.", "it is not {opposite}, it is {word}.",
]  # fmt: skip
ENGLISH_TURN = [
    "the {thing} is not {word}", "the {thing} isn't {word}.", "this {thing} was not {word} at all.", "not {word}",
    "it wasn't {word}", "I don't think the {thing} is {word}.", "the {thing} is not very {word}.", "never {word}, not once.",
    "not a {word} {thing}", "I can't say that the {thing} is {word}.", "the {thing} is hardly {word}.",
    "there is nothing {word} about this {thing}.", "the {thing} is anything but {word}.", "far from {word}",
    "I would not call this {thing} {word}.", "they say the {thing} is {word}. It is not.", "nobody could call it {word}.",
    "it is neither {word} nor {word2}.", "the {thing} is not {word} and not {word2}.", "I thought it would be {word}, but it wasn't.",
]  # fmt: skip

CHINESE_THINGS = [
    "电影", "影片", "剧情", "故事", "演技", "结局", "音乐", "画面", "菜", "味道", "服务", "酒店", "房间", "手机", "屏幕", "书", "内容",
    "质量", "物流", "包装", "餐厅", "环境", "软件", "游戏", "衣服", "电池", "老板", "态度", "导演", "台词",
]  # fmt: skip
CHINESE_GOOD = [
    "好看", "好", "精彩", "有趣", "喜欢", "满意", "好吃", "好用", "舒服", "干净", "感人", "值得", "推荐", "漂亮", "划算", "真实", "新鲜",
    "专业", "方便", "出色", "有意思", "便宜",
]  # fmt: skip
CHINESE_BAD = [
    "难看", "差", "无聊", "糟糕", "失望", "难吃", "难用", "脏", "烂", "贵", "乏味", "恶心", "慢", "假", "吵", "俗套", "尴尬", "垃圾", "坑人",
    "粗糙", "拖沓", "后悔",
]  # fmt: skip
CHINESE_KEEP = [
    "这部{thing}{word}", "这个{thing}很{word}", "{thing}非常{word}。", "真的很{word}", "{thing}太{word}了！", "觉得{thing}挺{word}的",
    "都说{opposite}，其实很{word}。", "本来以为会{opposite}，结果很{word}。", "虽然有人说{opposite}，但是{thing}真的{word}。",
    "{thing}一点都不{opposite}，很{word}", "前面有点{opposite}，但是后面很{word}", "不是{opposite}，是{word}", "不但{word}，而且{word2}",
    "从来没见过这么{word}的{thing}",
]  # fmt: skip
CHINESE_TURN = [
    "这部{thing}不{word}", "这个{thing}不{word}", "{thing}不太{word}。", "{thing}一点都不{word}", "{thing}一点也不{word}！", "并不{word}", "不怎么{word}",
    "没有那么{word}", "没觉得{word}", "不觉得{thing}{word}", "{thing}不是很{word}", "算不上{word}", "谈不上{word}", "{thing}根本不{word}。",
    "别人都说{word}，我觉得不{word}", "以为会很{word}，结果不{word}", "{thing}不{word}，也不{word2}", "说不上{word}的{thing}", "毫不{word}",
]  # fmt: skip

Words = tuple[list[str], list[str], list[str], list[str], list[str]]
WORDS: dict[str, Words] = {
    "en": (ENGLISH_THINGS, ENGLISH_GOOD, ENGLISH_BAD, ENGLISH_KEEP, ENGLISH_TURN),
    "zh": (CHINESE_THINGS, CHINESE_GOOD, CHINESE_BAD, CHINESE_KEEP, CHINESE_TURN),
}


def negation_examples(language: Literal["en", "zh"], count: int, seed: int) -> Iterator[tuple[str, int]]:
    """``count`` texts with labels (0 negative, 1 positive), half of them with the word's polarity turned.

    A good word turned is negative; a bad word turned is positive ("not bad at all", 不难吃).
    """
    rng = random.Random(seed)
    things, good, bad, keep, turn = WORDS[language]
    for _ in range(count):
        positive_word = rng.random() < 0.5
        words, others = (good, bad) if positive_word else (bad, good)
        turned = rng.random() < 0.6
        template = rng.choice(turn if turned else keep)
        word, word2 = rng.sample(words, 2)
        text = template.format(thing=rng.choice(things), word=word, word2=word2, opposite=rng.choice(others))
        if language == "en" and rng.random() < 0.5:
            text = text[0].upper() + text[1:]
        yield text, int(positive_word != turned)
