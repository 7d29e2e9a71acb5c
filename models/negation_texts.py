"""What templated negation is made from: words that fit together, and frames that keep or turn their polarity.

More frames are in ``opinions/``. A frame is lower-case text without its final mark. ``[a|b|]`` is a choice. Its slots:

- ``{word}``, ``{verb}``, ``{verbed}``, ``{feeling}``, ``{merit}``, ``{comparative}``: a word with the frame's polarity;
  with ``anti_`` before the name, one with the other polarity. No word stands twice in a text.
- ``{word_again}``: the word that stood there last.
- ``{thing}``: what is judged; ``{part}``: something about it; ``{this}``: the Chinese "this" with the measure word that fits.
- ``{clause}``, ``{anti_clause}``: a whole frame of the kind "clause", kept or turned, whose verdict is the frame's polarity,
  or the other one; ``{verdict}``: the same, of the kind "clause" or "personal". Frames with such a slot keep the polarity.
- ``{is}``, ``{isnt}``, ``{am}``, ``{do}``, ``{dont}``, ``{does}``, ``{doesnt}``, ``{has}``, ``{find}``: English verbs in the tense of the text.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from models.tokenizer import Language


@dataclass(frozen=True)
class Domain:
    """Things, what belongs to them, and good and bad words that are said of both."""

    things: tuple[str, ...]
    parts: tuple[str, ...]
    good: tuple[str, ...]
    bad: tuple[str, ...]
    this: str = "this"


@dataclass(frozen=True)
class Frames:
    """Frames of one kind: those in ``keep`` keep the polarity of their words, those in ``turn`` turn it.

    Those in ``*_good`` and ``*_bad`` make sense with good or with bad words only, or have a polarity of their own.
    """

    keep: tuple[str, ...] = ()
    turn: tuple[str, ...] = ()
    keep_good: tuple[str, ...] = ()
    keep_bad: tuple[str, ...] = ()
    turn_good: tuple[str, ...] = ()
    turn_bad: tuple[str, ...] = ()


@dataclass(frozen=True)
class Texts:
    """Everything for one language.

    Args:
        domains: words that go together.
        words: (good, bad) words of each slot that fit every domain.
        tenses: what a slot for a verb is (now, then).
        kinds: frames by what they do to a verdict; "clause" and "personal" have whole sentences that go
            into others.
        before, after: sentences without a verdict.
        marks: what may end a text.
    """

    domains: tuple[Domain, ...]
    words: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]]
    tenses: Mapping[str, tuple[str, str]]
    kinds: Mapping[str, Frames]
    before: tuple[str, ...]
    after: tuple[str, ...]
    marks: tuple[str, ...]


ENGLISH = Texts(
    domains=(
        Domain(
            ("movie", "film", "series", "comedy", "thriller", "show", "drama", "play", "musical", "remake"),
            ("plot", "story", "acting", "script", "cast", "ending", "soundtrack", "direction", "editing", "humor"),
            ("funny", "interesting", "enjoyable", "entertaining", "moving", "engaging", "brilliant", "imaginative", "convincing", "original"),
            ("boring", "dull", "predictable", "silly", "pointless", "pretentious", "confusing", "slow", "implausible", "tiresome", "stupid"),
        ),
        Domain(
            ("book", "essay", "biography", "memoir", "article", "story", "lecture", "podcast"),
            ("writing", "prose", "argument", "opening", "research", "structure", "conclusion", "tone"),
            ("readable", "insightful", "absorbing", "thoughtful", "interesting", "informative", "inspiring", "lucid"),
            ("dry", "repetitive", "long-winded", "superficial", "dreary", "muddled", "boring", "preachy"),
        ),
        Domain(
            ("burger", "pizza", "salad", "steak", "curry", "sandwich", "cake", "meal", "lunch"),
            ("food", "sauce", "bread", "rice", "chicken", "filling", "seasoning", "crust"),
            ("fresh", "flavorful", "yummy", "juicy", "appetizing", "mouthwatering", "satisfying"),
            ("greasy", "soggy", "overcooked", "tasteless", "undercooked", "rancid", "revolting", "inedible"),
        ),
        Domain(
            ("hotel", "room", "restaurant", "bar", "apartment", "gym", "hostel", "campsite"),
            ("bathroom", "lobby", "bed", "location", "terrace", "atmosphere", "kitchen", "entrance"),
            ("clean", "restful", "cozy", "spacious", "charming", "welcoming", "beautiful", "inviting"),
            ("dirty", "noisy", "filthy", "shabby", "smelly", "cramped", "depressing", "run-down"),
        ),
        Domain(
            ("phone", "camera", "scanner", "printer", "game", "app", "tablet", "monitor", "router", "watch"),
            ("battery", "screen", "design", "software", "sound", "build", "interface", "cable"),
            ("dependable", "robust", "fast", "versatile", "durable", "elegant", "easy to use", "well made", "intuitive", "solid"),
            ("rickety", "broken", "overpriced", "buggy", "ugly", "unreliable", "badly made", "hard to use", "fragile", "defective"),
        ),
        Domain(
            ("waitress", "doctor", "shop", "agent", "teacher", "seller", "airline", "clinic", "mechanic"),
            ("service", "staff", "support", "delivery", "team", "help desk", "booking", "check-in"),
            ("professional", "kind", "patient", "efficient", "competent", "courteous", "prompt", "trustworthy"),
            ("unhelpful", "incompetent", "impatient", "unprofessional", "dishonest", "sloppy", "clueless", "slow"),
        ),
    ),
    words={
        "word": (
            ("good", "great", "excellent", "amazing", "wonderful", "impressive", "fantastic", "nice", "pleasant", "decent", "superb", "special"),
            ("bad", "terrible", "awful", "horrible", "disappointing", "poor", "dreadful", "mediocre", "lousy", "annoying", "unpleasant"),
        ),
        "verb": (
            ("like", "enjoy", "love", "recommend", "appreciate", "admire"),
            ("hate", "dislike", "regret", "resent", "despise", "loathe", "detest"),
        ),
        "verbed": (
            ("liked", "enjoyed", "loved", "appreciated", "admired", "praised", "adored"),
            ("hated", "disliked", "regretted", "resented", "despised", "loathed", "detested"),
        ),
        "feeling": (
            ("happy", "pleased", "satisfied", "impressed", "delighted", "thrilled"),
            ("disappointed", "annoyed", "upset", "frustrated", "angry", "bored", "unhappy", "disgusted"),
        ),
        "merit": (
            ("charm", "quality", "character", "warmth", "talent", "value", "care", "class", "appeal"),
            ("problems", "flaws", "faults", "defects", "mistakes", "drawbacks", "annoyances", "issues"),
        ),
        "comparative": (
            ("better", "nicer", "more pleasant", "more impressive", "more appealing", "more satisfying"),
            ("worse", "more annoying", "more disappointing", "poorer", "more frustrating", "more irritating"),
        ),
    },
    tenses={
        "is": ("is", "was"), "isnt": ("isn't", "wasn't"), "do": ("do", "did"),
        "dont": ("don't", "didn't"),
        "does": ("does", "did"), "doesnt": ("doesn't", "didn't"), "has": ("has", "had"),
        "am": ("am", "was"), "find": ("find", "found"),
    },
    kinds={
        "clause": Frames(
            keep=(
                "the {part} {is} [really|truly|very|so|just|quite|rather] {word}",
                "this {thing} {is} [definitely|without doubt|simply|] {word}",
                "it {is} [such|truly] a {word} {thing}",
                "the {thing} {is} {word} and the {part} {is} {word} too",
                "both the {thing} and the {part} seem {word} to me",
                "the {part} [left me|made me] {feeling}",
                "the {thing} {has} [plenty of|a lot of] {merit}",
                "nothing could be {comparative} than this {thing}",
                "it {doesnt} get any {comparative} than the {part} here",
                "not only the {part} but also the {thing} {is} {word}",
                "the {thing} [seems|seemed|looks|looked|sounds] [really|very|quite] {word}",
                "the {part} {does} seem {word}",
                "the {part} strikes me as {word}",
                "you can call this {thing} {word}",
                "[we think|I must say|it is true that] the {part} {is} {word}",
                "there {is} something [very|truly|] {word} about the {thing}",
                "this {thing} {is} as {word} as [they come|it gets]",
                "[the {part}|our {thing}|their {part}|the whole {thing}] [proved|remained|ended up|turned out|came across as] {word} [in the end|as always|]",
                "[the {part}|this {thing}] couldn't be [any|] more {word}",
                "the {thing} could hardly have been more {word}",
                "[at all times|in every way|in every sense|everywhere] the {part} {is} {word}",
                "everything [in|on|inside] the {thing} {is} {word}",
                "there {is} no doubt that this {thing} {is} {word}",
            ),
            turn=(
                "the {part} {is} not [very|really|particularly|that|exactly|all that|] {word}",
                "the {part} {isnt} [very|particularly|so|in any way|] {word}",
                "this {thing} {is} [never|hardly|scarcely|barely|nowhere near|not one bit|in no way] {word}",
                "it {isnt} [exactly|really|] a {word} {thing}",
                "the {thing} {is} neither {word} nor {word}",
                "neither the {thing} nor the {part} {is} {word}",
                "the {part} {is} not {word} and the {thing} {isnt} {word} either",
                "nobody [I know|in our group|] {verbed} the {part}",
                "the {thing} {has} [no|hardly any|none of the usual] {merit}",
                "the {thing} {is} without any {merit}",
                "the {part} {doesnt} leave me {feeling}",
                "the {thing} {is} not any {comparative} than [others|what I had before|the usual]",
                "the {part} {is} no {comparative} than [anywhere else|elsewhere|average]",
                "there {is} nothing [very|particularly|] {word} about the {part}",
                "no one could say that the {part} {is} {word}",
                "the {part} can't be described as {word}",
                "not once {does} the {thing} feel {word}",
                "there {isnt} a single {word} thing in the {part}",
                "the {thing} [doesn't seem|didn't seem|doesn't look|didn't look|doesn't sound] [really|very|that|] {word}",
                "the {part} {does} not seem {word}",
                "the {part} never struck me as {word}",
                "you cannot call this {thing} {word}",
                "[we don't think|I can't say|it is not true that] the {part} {is} {word}",
                "few things are less {word} than this {thing}",
                "the {thing} couldn't be further from [being|] {word}",
                "[in no respect|under no circumstances|not for a moment] {is} the {part} {word}",
                "never {is} the {thing} {word}",
                "[the {part}|our {thing}|their {part}|the whole {thing}] [didn't prove|never turned out|hardly remained|did not end up|never came across as] {word} [in the end|]",
                "[the {part}|this {thing}] couldn't be [any|] less {word}",
                "the {thing} could hardly have been less {word}",
                "[at no time|in no way|in no sense|nowhere] {is} the {part} {word}",
                "nothing [in|on|inside] the {thing} {is} {word}",
                "the {thing} {is} not {word} by any means",
            ),
            keep_good=(
                "the {thing} {is} worth [every cent|your time|the money]",
                "nothing {is} wrong with the {part}",
                "the {thing} never fails to please",
                "the {part} leaves nothing to be desired",
            ),
            keep_bad=(
                "the {thing} {is} not worth [a cent|your time|the money]",
                "something {is} wrong with the {part}",
                "nothing about the {part} works for me",
                "the {thing} never manages to please",
                "the {part} leaves a lot to be desired",
                "the {part} doesn't do anything for me",
            ),
        ),
        "personal": Frames(
            keep=(
                "I {find} the {part} [absolutely|pretty] {word}",
                "I {verbed} the {part}",
                "I really {do} {verb} this {thing}",
                "I am [so|very|] {feeling} with the {thing}",
                "never have I seen a {comparative} {thing}",
                "most people would call the {part} {word}",
                "we {do} think that this {thing} {is} {word}",
                "I would call the {thing} {word}",
                "I am sure that the {part} will be {word} [for you|]",
                "I did {verb} the {part}",
                "I trust that the {part} {is} {word}",
                "[we|my friends|most people|I do] believe that the {part} {is} {word}",
                "I couldn't be more {feeling} with the {part}",
                "[you can expect|be prepared for|get ready for] a {word} {thing}",
                "I never once doubted that the {part} {is} {word}",
                "this {thing} truly is what people call {word}",
                "all that I [saw|tried|got] {is} {word}",
            ),
            turn=(
                "I have not found the {part} [the least bit|in any way|all that] {word}",
                "I {dont} think this {thing} {is} [very|at all|] {word}",
                "I can't call the {part} {word}",
                "I wouldn't [say|claim] that the {thing} {is} {word}",
                "I {dont} [really|exactly|] {verb} the {part}",
                "I never {verbed} this {thing}",
                "I {am} not [very|exactly|in the least|] {feeling} with the {part}",
                "we {dont} think that this {thing} {is} {word}",
                "I would not call the {thing} {word}",
                "I doubt the {part} will [ever|] be {word} [for anyone|]",
                "I doubt anyone would call the {thing} {word}",
                "I [highly|really|very much] doubt [whether|if] the {part} {is} {word}",
                "you need not expect a {word} {thing}",
                "[we|my friends|most people|I do] doubt that the {part} {is} {word}",
                "I doubt [it|all of this] {is} [really|so|] {word}",
                "I couldn't be less {feeling} with the {part}",
                "[you should not expect|nobody should expect|there is no point in expecting] a {word} {thing}",
                "I began to doubt that the {part} {is} {word}",
                "this {thing} truly is not what people call {word}",
                "nothing that I [saw|tried|got] {is} {word}",
            ),
            keep_good=(
                "I would [gladly|happily|] come back [for the {part}|tomorrow|]",
                "I would recommend the {thing} to [anyone|all my friends]",
                "I couldn't be better off",
                "you can't go wrong with this {thing}",
                "I have no complaints about the {part}",
                "I can't fault the {part}",
                "you [won't|will never] be let down by the {part}",
                "I can't find anything to criticize about the {thing}",
                "I couldn't have asked for a {comparative} {thing}",
            ),
            keep_bad=(
                "I [won't|will never|will not] come back [for the {part}|]",
                "I would [not|never] recommend the {thing} to [anyone|my friends]",
                "I [want|demand] my money back",
                "you would be better off without this {thing}",
                "I have many complaints about the {part}",
                "I can't find anything to praise about the {thing}",
                "I can see no reason to pay for this {thing}",
            ),
        ),
        "fragment": Frames(
            keep=(
                "[so|really|truly|simply|] {word}", "a [very|really] {word} {thing}", "what a {word} {thing}", "{word}, {word} and {word}",
                "how {word} can a {thing} be?", "{word} from start to finish", "always {word}", "{word} as ever", "overall {word}",
                "[just|quite] a {word} {thing}", "{word} in every way", "nothing but {merit}", "never seen anything this {word}",
                "nothing is as {word} as this {thing}", "yes, {word}", "full of {merit}", "definitely a {thing} to {verb}",
                "who would not {verb} this?", "is it {word}? yes", "isn't it {word}?", "no doubt about it, {word}", "not just {word} but also {word}",
                "can't stop telling people how {word} it is", "couldn't be {comparative}",
            ),
            turn=(
                "not {word}", "not [at all|even|especially|that|really|the least bit|too] {word}", "never {word}", "hardly {word}", "not a {word} {thing}",
                "[certainly|definitely|clearly] not a {word} {thing}", "neither {word} nor {word}", "no {word} {thing} for sure", "not {word} in any sense",
                "nothing {word} here", "not what I would call {word}", "not what you would call a {word} {thing}", "no {merit}, none", "without {merit}",
                "{word}? no", "{word}? not [really|at all|in my opinion]", "is it {word}? [no|not really|I don't think so]", "{word} it {isnt}",
                "not {word}, not {word}", "didn't find it [particularly|very|all that] {word}", "not one {word} thing to report", "{word} is not the word for it",
                "who would call that {word}?", "nobody was {feeling}", "not {feeling} with it", "not a {thing} to {verb}", "not {comparative} than before",
            ),
            keep_good=(
                "can't complain", "no complaints", "no complaints whatsoever", "nothing to complain about", "can't go wrong", "never a dull moment",
                "not a bad {part} in sight", "not a single flaw", "no regrets", "without a fault", "can't get enough of it", "couldn't ask for more",
                "I would not change a thing", "could not put it down", "it never disappoints", "no {thing} comes close", "second to none",
                "wouldn't hesitate to buy it again", "not to be missed", "can't wait to be back", "nothing wrong with it",
                "not half bad", "it doesn't disappoint", "none of the usual flaws", "there was nothing I disliked", "never had a problem with it",
            ),
            keep_bad=(
                "can't recommend it", "no recommendation from me", "nothing to write home about", "can't be saved", "never again", "never buying it again",
                "not a single redeeming feature", "not worth it", "no thanks", "without a point", "couldn't wait for it to end", "couldn't care less",
                "I would not do it again", "could not finish it", "it never works", "no {thing} should be like this", "not my cup of tea",
                "wouldn't take it for free", "not to be trusted", "can't believe I paid for that", "nothing right about it",
                "not good enough", "it doesn't work", "none of the promised quality", "there was nothing I liked", "never had any luck with it",
            ),
        ),
        "indirect": Frames(
            keep=(
                "I [don't doubt|never doubted] for a second that this {thing} {is} {word}", "it would be wrong not to call the {part} {word}",
                "nobody can deny that the {part} {is} {word}", "there is no denying how {word} the {thing} {is}", "everything here {is} {word}",
                "the {part} never stops being {word}", "the {thing} succeeds in being {word} throughout",
                "by all means call the {part} {word}", "it is not {anti_word} but {word}", "it is hard to deny that the {part} {is} {word}",
                "you will not find a {comparative} {thing}", "the {part} could hardly be {comparative}", "it {is} {word} rather than {anti_word}",
                "the {thing} {is} not {anti_word}, quite the opposite", "there is no way to be {comparative} than this {thing}",
                "I refuse to believe that anyone could {anti_verb} the {part}", "instead of {anti_word} we got {word}", "the {part} {is} more {word} than {anti_word}",
            ),
            turn=(
                "I have [serious|strong] doubts about whether the {part} {is} {word}", "it is [doubtful|debatable] whether this {thing} {is} {word}", "the {part} {is} by no means {word}", "I have trouble seeing how the {thing} {is} {word}",
                "the {thing} {is} far from [being|] {word}", "the {thing} {is} anything but {word}", "it is a stretch to call the {part} {word}",
                "nothing here {is} {word}", "whoever says that the {part} {is} {word} must be lying", "it is hard to call the {thing} {word}",
                "only a fool would call the {part} {word}", "I fail to see what {is} {word} about the {part}", "there {is} a [sad|complete] lack of {merit} in the {part}",
                "what the {thing} lacks is {merit}", "the {part} {is} free of {merit}", "gone are the days of the {word} {part}",
                "the {thing} {is} the opposite of {word}", "calling the {part} {word} is simply false", "since when {is} the {part} {word}?",
                "to say that the {thing} {is} {word} would be untrue", "the last thing I would call the {part} is {word}", "{word} is the wrong word for the {part}",
                "I disagree with everyone who [calls|called] it {word}", "the {part} has stopped being {word}", "the {thing} is {anti_word} instead of {word}",
                "I can't see why people {verb} the {part}", "the {part} won't make anyone {feeling}", "I have yet to find {merit}", "I tried to {verb} the {part} and could not", "I looked for {merit} and found none", "who could {verb} the {part}?", "it is impossible to {verb} this {thing}", "it takes a strange person to {verb} this {thing}", "the {part} {is} less {word} than {anti_word}",
            ),
            turn_good=(
                "I wish the {part} were {word}", "I wish I could call this {thing} {word}", "if only the {part} had been {word}", "the {part} has failed at being {word}",
                "the {thing} {is} supposed to be {word}", "the {part} should have been {word}", "the {thing} could have been so much {comparative}",
                "the {thing} tries [so|very] hard to be {word}", "the {part} only pretends that it {is} {word}", "the {thing} has yet to become {comparative}",
                "the {part} {is} too cheap to be {word}", "I was hoping for a {word} {thing}", "I am still waiting for the {part} to become {word}",
                "where {is} the {merit} they promised?", "the {part} would be {word} if someone had cared", "they forgot to make the {part} {word}",
                "so much for a {word} {thing}", "all the {merit} is gone", "I have seen a far {comparative} {thing} for less money", "the {part} may have been {word} once",
                "they could have made a {word} {thing}", "with more work it might have been {word}", "the {thing} {is} in need of some {merit}",
                 "I struggle to {verb} the {part}",
            ),
            turn_bad=(
                "I see no reason to call the {part} {word}", "calling it {word} is unfair to this {thing}", "the {thing} avoids being {word}",
                "the {part} could easily have been {word}, luckily someone cared", "they say {word}, I say try it", "the {part} could have been {comparative}",
                "the {part} may have been {word} once, those days are over",
                "it is hard to stay {feeling} with a {thing} like this",
                "I have had far {comparative}", "they took care to fix the {merit}", "all the {merit} are gone",
                 "whoever calls the {thing} {word} has no idea", "the {part} saves us from {merit}",
                "this {thing} is a cure for {word} evenings", "you will not get {feeling} here",  "rid of {merit} at last",
            ),
            keep_good=(
                "I wish every {thing} were this {word}", "it {is} supposed to be {word}, and it {is}", "the {part} [succeeds|succeeded] in being {word}",
                "the {thing} tries to be {word} and gets there", "just as {word} as the {part} should be", "if only all the others were as {word} as this {thing}",
                "I was hoping for a {word} {thing} and got it", "they promised a {word} {thing} and kept their word",
            ),
            keep_bad=(
                "I wish the {thing} were less {word}", "why {is} the {part} [so|always|] {word}?", "it takes effort to make a {thing} so {word}",
                "the {thing} tries to hide how {word} it {is}", "the {part} should not be this {word}", "if only the {part} were not so {word}",
                "I was hoping it would not be {word}, in vain", "they promised to fix the {word} {part} and never did",
            ),
        ),
        "expectation": Frames(
            turn=(
                "I thought the {part} would be {word}, but [it isn't|it wasn't|no]", "I expected a {word} {thing}. I was wrong", "so they say it is {word}. it isn't",
                "I had heard that the {part} {is} {word}, which is [not true|wrong|nonsense]", "the reviews promised a {word} {thing}. the reviews were wrong",
                "I was [sure|certain] it would be {word}, yet it {isnt}", "we expected {merit}. there {is} none",
                "a friend told me the {thing} {is} {word}. I disagree", "the trailer made it look {word}. don't be fooled", "people call it {word}; I don't",
                "I had read how {word} the {part} {is}, then I saw for myself that it {isnt}", "all the talk of {merit} is wrong",
                "everybody said that it {is} {word}, and everybody was mistaken", "I thought I would {verb} the {part}, but I {dont}",
                "I prepared to {verb} this {thing}, and it went the other way", "they told us we would be {feeling}. we were not",
                "contrary to what I had read, the {part} {is} not {word}", "expected {word}, got the opposite", "thought it {is} {word}, it {isnt}",
                "on paper the {thing} {is} {word}, in reality it {isnt}", "at first I thought {word}. not any more",
                "the rumor that the {part} {is} {word} is unfounded", "it {is} announced as {word}. far from it", "we all thought it would be {word}. it never {is}",
            ),
            keep=(
                "I thought the {part} would be {anti_word}, but it {is} {word}", "I expected something {anti_word}, however it turned out [to be|] {word}",
                "the reviews said {anti_word}, yet I {find} it {word}", "I had heard that the {part} {is} {anti_word}, in fact it {is} {word}",
                "everyone around me expected {anti_word}. what we got {is} {word}", "I was sure that it would be {anti_word}. instead it {is} {word}",
                "I thought I would {anti_verb} it, but I {verbed} it", "contrary to my expectations the {thing} {is} {word}",
                "I thought it would be {word}, and it {is}", "just as {word} as the reviews said", "I expected the {part} to be {word} and I was right",
                "they say the {thing} {is} {word}, and I agree", "people told me it {is} not {anti_word}, and they were right",
                "it was said to be {anti_word}, then it surprised me: {verdict}", "my friends called it {anti_word}. to my surprise {verdict}",
                "I went in expecting a {anti_word} {thing}. an hour later I knew better. {verdict}", "a {anti_word} first impression, then it turned out that {verdict}",
                "after all that I had read I was prepared for something {anti_word}. well, {verdict}", "I used to think it {is} {anti_word}. now I know that {verdict}",
                "the rating made me believe that {anti_clause}. actually {verdict}", "I was told that {anti_clause}, but {verdict}",
                "before ordering I believed that {anti_clause}. it turned out that {verdict}", "the ad suggests that {anti_clause}. the truth is that {verdict}",
                "I was told that {clause}, and it is true", "others may say that {anti_clause}. I say that {verdict}",
                "going by the pictures I assumed {anti_word}; it {is} [actually|in truth|really] {word}", "who would have thought that something so {word} comes from here",
            ),
            turn_good=(
                "I had high hopes for a {word} {thing}. they were not met", "I really wanted it to be {word}, but it just {isnt}", "too bad, it had the makings of a {word} {thing}",
                "the {part} did not live up to being called {word}", "it promised {merit} and did not deliver", "all that praise for {merit}, all for nothing",
            ),
            turn_bad=(
                "I was afraid the {thing} would be {word}. no need to be", "I was worried about a {word} {thing}, for no reason", "I dreaded a {word} {thing}. what a relief",
                "they warned me about {merit}. there are none", "I feared {merit}, but everything went smoothly", "I was ready to {verb} the {part}, but it won me over",
            ),
        ),
        "contrast": Frames(
            keep=(
                "{anti_clause}, but {verdict}", "{anti_clause}; still, {verdict}", "{anti_clause}. however, {verdict}", "although {anti_clause}, {verdict}",
                "even though {anti_clause}, {verdict}", "{verdict}, even though {anti_clause}", "{verdict}, although {anti_clause}", "while {anti_clause}, {verdict}",
                "despite the {anti_word} {part}, {verdict}", "in spite of the {anti_word} {part}, {verdict}", "{verdict} in spite of the {anti_word} {part}",
                "even if {anti_clause}, {verdict}", "{anti_clause}, yet in the end {verdict}", "yes, {anti_clause}. but {verdict}", "granted, {anti_clause}, but all in all {verdict}",
                "some say that {anti_clause}, but {verdict}", "{anti_clause}. {anti_clause}. and yet {verdict}", "whether or not {anti_clause}, {verdict}",
                "{anti_clause}. nevertheless {verdict}", "{anti_word} {part}, but {verdict}", "the {part} {is} {anti_word}, but the {thing} {is} {word}",
                "the {thing} {is} {word}, despite the {anti_word} {part}", "{anti_clause}, but that does not matter, because {verdict}",
                "the first minutes were {anti_word}, the rest {is} {word}", "never mind that {anti_clause}: {verdict}", "{anti_word} at first, {word} in the end",
                "{verdict} and {clause}", "{verdict}, because {verdict}", "{verdict}, and what is more, {verdict}", "{verdict}. {verdict}", "{verdict}, so {verdict}",
                "{verdict}, whatever others say about the {anti_word} {part}", "my wife says that {anti_clause}. all the same, {verdict}",
            ),
        ),
    },
    before=(
        "we went on a Tuesday.", "bought this last month.", "my brother gave it to me.", "I was there with two friends.", "this was our third visit.",
        "it arrived on Monday.", "so, here is my review.", "I had some time on the weekend.", "let me be brief:", "to sum up:", "in my opinion,", "honestly,",
        "to be frank,", "for what it's worth,", "after two weeks:", "I paid for it myself.", "well,", "first of all,",
    ),
    after=(
        "we were four people.", "I used it for a week.", "that is all.", "just my opinion.", "we paid by card.", "it was a Friday.", "that's it from me.",
        "I live nearby.", "my sister was there too.", "posted from my desk.",
    ),
    marks=("", ".", ".", "!", "..."),
)  # fmt: skip

CHINESE = Texts(
    domains=(
        Domain(
            ("电影", "影片", "短片", "电视剧", "动画片", "喜剧", "科幻片", "话剧"),
            ("剧情", "故事", "演技", "结局", "配乐", "画面", "特效", "台词", "节奏", "剪辑", "情节"),
            ("好看", "精彩", "有趣", "感人", "有意思", "扣人心弦", "经典", "催泪", "吸引人", "用心"),
            ("难看", "无聊", "乏味", "俗套", "尴尬", "拖沓", "沉闷", "老套", "矫情", "狗血", "幼稚", "散乱"),
            "这部",
        ),
        Domain(
            ("书", "童话", "教材", "散文集", "传记", "诗集"),
            ("内容", "文笔", "情节", "语言", "观点", "案例", "译文", "结构"),
            ("好看", "生动", "有趣", "实用", "有深度", "易懂", "引人入胜", "耐读"),
            ("干巴", "无聊", "冗长", "晦涩", "肤浅", "老套", "难懂", "空泛", "乏味"),
            "这本",
        ),
        Domain(
            ("快餐", "外卖", "炒饭", "米线", "沙拉", "盒饭", "便当"),
            ("汤", "肉", "米饭", "凉皮", "烤鱼", "小菜", "饺子", "菜", "味道"),
            ("好吃", "新鲜", "爽口", "入味", "地道", "鲜美", "诱人", "开胃"),
            ("难吃", "恶心", "发腻", "刺鼻", "倒胃口", "坑人", "糊弄人", "怪"),
            "这份",
        ),
        Domain(
            ("酒店", "宾馆", "餐厅", "店", "民宿", "旅馆", "健身房", "饭馆"),
            ("房间", "环境", "大堂", "床", "卫生间", "走廊", "院子", "浴室"),
            ("舒服", "干净", "舒适", "整洁", "宽敞", "雅致", "漂亮", "像样"),
            ("脏", "吵", "破旧", "寒碜", "阴暗", "潮湿", "刺鼻", "拥挤", "压抑"),
            "这家",
        ),
        Domain(
            ("手机", "平板", "路由器", "电脑", "相机", "显示器", "手表", "软件", "游戏", "投影仪"),
            ("屏幕", "电池", "做工", "手感", "系统", "质量", "外观", "功能", "音质"),
            ("好用", "皮实", "结实", "划算", "流畅", "精致", "实用", "稳定", "灵活"),
            ("难用", "粗糙", "卡顿", "劣质", "累赘", "坑人", "费电", "难看", "费劲"),
            "这款",
        ),
        Domain(
            ("衬衫", "毛衣", "外套", "衣服", "大衣", "羽绒服", "礼物"),
            ("面料", "做工", "颜色", "版型", "款式", "包装", "手感"),
            ("好看", "舒服", "漂亮", "合身", "精致", "有质感", "洋气"),
            ("难看", "粗糙", "土气", "扎人", "劣质", "别扭", "寒酸"),
            "这件",
        ),
        Domain(
            ("店家", "老板", "卖家", "掌柜", "老师", "医生", "教练", "中介"),
            ("服务", "态度", "售后", "物流", "沟通", "咨询", "处理"),
            ("专业", "细心", "热心", "可靠", "负责", "让人放心", "到位"),
            ("推诿", "恶劣", "马虎", "慢", "拖拉", "气人", "坑人"),
            "这个",
        ),
    ),
    words={
        "word": (
            ("好", "出色", "优秀", "理想", "令人满意", "讨人喜欢", "值得推荐", "让人惊喜", "出彩"),
            ("差", "糟糕", "让人失望", "令人失望", "糟", "烂", "坑", "令人讨厌", "让人后悔"),
        ),
        "verb": (("喜欢", "欣赏", "享受", "推荐", "认可", "看好", "满意"), ("讨厌", "后悔选", "嫌弃", "反感", "厌恶", "排斥")),
        "feeling": (
            ("满意", "开心", "高兴", "惊喜", "感动", "过瘾", "放心"),
            ("失望", "生气", "后悔", "郁闷", "难受", "烦躁", "心寒", "憋屈"),
        ),
        "merit": (
            ("优点", "亮点", "诚意", "特色", "吸引力", "惊喜", "可取之处"),
            ("缺点", "毛病", "问题", "瑕疵", "破绽", "槽点", "硬伤"),
        ),
        "comparative": (("更好", "更舒心", "更划得来", "更值", "更出色"), ("更差", "更糟", "更气人", "更让人失望", "更烂")),
    },
    tenses={},
    kinds={
        "clause": Frames(
            keep=(
                "{this}{thing}[很|真|非常|特别|挺|相当|确实|实在]{word}", "{part}[很|真|太|非常|十分|的确|还是很]{word}", "{part}[真的|确实|实在是]{word}",
                "{part}{word}极了", "{part}{word}得很", "{part}要多{word}有多{word_again}", "{part}很{word}，{thing}也很{word}", "{part}又{word}又{word}",
                "{part}既{word}又{word}", "{thing}不但{word}，而且{word}", "{this}{thing}的{part}特别{word}", "{this}{thing}[到处都是|有很多|充满]{merit}",
                "{part}没有最{word}，只有更{word_again}", "{this}{thing}{word}是出了名的", "{part}比别家{comparative}", "{part}[无疑|绝对|毫无疑问]是{word}的",
                "{this}{thing}给人的感觉是{word}", "{part}没有不{word}的", "{part}没有一处不{word}", "{part}不能再{word}了", "{part}不是一般的{word}",
                "{part}[的确|实在|其实|倒是|看着|用着|全程|始终|总体上|绝对|明显|依然][很|非常|挺|太|相当]{word}", "[我觉得|我们都觉得|朋友都说|所有人都承认|看得出来|事实上]{part}[很|非常|]{word}", "{part}[看起来|说起来|用起来]很{word}",
            ),
            turn=(
                "{this}{thing}[不|并不|不太|不怎么|不算|毫不|绝不]{word}", "{part}[不是很|不是太|不够|没那么|没有多|没多么]{word}", "{part}[一点也不|一点都不|丝毫不|根本不|压根不]{word}",
                "{this}{thing}[算不上|谈不上|说不上|绝对算不上]{word}", "{part}[不见得|未必|不一定]有多{word}", "{this}{thing}[未必就|不一定就]{word}",
                "{part}不{word}，{part}也不{word}", "{part}既不{word}也不{word}", "{part}没有[什么|任何|多少|半点]{merit}", "{this}{thing}毫无{merit}", "{this}{thing}[没|没有]{merit}",
                "{part}[不觉得|没觉得|没感到]有多{word}", "{this}{thing}的{part}不能说{word}", "{part}并没有[想象中|传说中|说的]那么{word}", "{part}从来[不|没有]{word}过",
                "{this}{thing}没有[一处|一个地方]是{word}的", "{part}和{word}[完全无关|没有任何关系]", "{part}没有让人觉得{word}", "{this}{thing}无{merit}可言",
                "{thing}不{word}，{part}更不{word}", "{part}不[可能|会]{word}", "没有人[说|觉得]{part}{word}", "{part}不是{word}的那种", "谁都不会说{part}{word}",
                "{part}[的确|实在|其实|倒是|看着|用着|全程|始终|总体上|绝对|明显|依然][不|不太|并不|一点不|不怎么]{word}", "[我觉得|我们都觉得|朋友都说|所有人都承认|看得出来|事实上]{part}[不|并不|不怎么]{word}", "{part}[看起来|说起来|用起来]不{word}",
                "我[不觉得|并不觉得|可不觉得|不信|不相信]{part}[很|有多|会|]{word}", "{part}[几乎没|从没|从未]让人觉得{word}", "{part}没有一点{word}的感觉", "{part}丝毫没有{word}的地方", "{part}跟{word}[没关系|搭不上边]", "{part}说什么也不{word}",
            ),
            keep_good=(
                "{part}没的说", "{part}没什么可挑剔的", "{part}挑不出毛病", "{part}不是不{word}", "{part}无可挑剔",
                "{part}不输[给|]任何一家", "{part}毫不逊色", "{this}{thing}没有让人失望", "{this}{thing}值得[拥有|再来|一试]", "{part}不可谓不{word}",
            ),
            keep_bad=(
                "{part}没法说", "{part}没什么可夸的", "{part}找不出优点", "{part}一无是处",
                "{part}比不上任何一家", "{part}毫不起眼", "{this}{thing}没有让人满意", "{this}{thing}不值[这个价|一提|得再来]",
            ),
            turn_good=("{part}不如[别家|以前|前一个][|那么]{word}", "{part}没有别家[|的]{word}", "{part}远不如从前{word}", "{part}比不上以前{word}", "{part}不{word}不说，还耽误时间"),
            turn_bad=("{part}没有别家那么{word}", "{part}不像以前那么{word}", "{part}不至于{word}", "{part}没有网上说的那么{word}", "{part}不{word}，放心"),
        ),
        "personal": Frames(
            keep=(
                "我[很|真的|特别|一直|还是]{verb}{this}{thing}", "我[觉得|看]{part}[挺|非常|十分]{word}", "{this}{thing}让我[很|非常|特别]{feeling}", "我对{part}只有一句话：{word}",
                "我们全家都{verb}{this}{thing}", "看到{part}我就很{feeling}", "大家都觉得{part}{word}", "没有人不{verb}{this}{thing}", "我不得不说{part}很{word}",
                "用一个词形容{part}就是{word}", "我从没见过这么{word}的{thing}", "我不是{anti_verb}，是很{verb}",
                "[我们都认为|一般认为|很多人认为]{part}[很|非常|]{word}", "[谁都看到|大家都发现了]{part}[很|]{word}",
                "[任何人都|我一眼就]看得出来{part}[很|]{word}", "[可以肯定|毫不夸张地说]{part}{word}", "[无论如何|横看竖看|左看右看]{part}都{word}", "{part}[到哪儿都|样样|样样都]{word}", "我[相信|敢说|确信]{part}[很|会|]{word}",
            ),
            turn=(
                "我[不|并不|不太|不怎么|从不|一点也不]{verb}{this}{thing}", "我[没觉得|没发现|看不出]{part}有多{word}", "{this}{thing}[没有|并没有|没|不会]让我{feeling}",
                "我不会说{part}{word}", "没有人{verb}{this}{thing}", "我对{part}[不|并不|不是很]{feeling}", "到最后我没有{feeling}", "我一次也没有觉得{part}{word}",
                "我看不出{part}{word}在哪里", "我找不到{part}的{merit}", "我没看到[任何|什么|所谓的]{merit}", "我没法{verb}{this}{thing}", "我不同意{part}{word}的说法",
                "[我们都不认为|没人认为|很少有人认为|我并不认为]{part}[很|有多|]{word}", "[谁都没看到|没有谁发现]{part}[哪里|]{word}",
                "[任何人都|我一点也]看不出来{part}[有多|]{word}", "[恐怕|确实|实在]难说{part}[有多|]{word}", "[无论如何|横看竖看|左看右看]{part}都不{word}", "{part}[到哪儿都不|样样都不|没有一样]{word}", "我[不敢说|不能说|说不出]{part}[很|有多|]{word}",
            ),
            keep_good=(
                "下次还会[再来|选择{this}{thing}|光顾]", "买了不后悔", "我没什么不满意的", "我没有理由不给好评", "我找不到差评的理由", "我舍不得给低分", "我忍不住又来了一次", "{this}{thing}我给满分",
                "不来会后悔的", "我不得不推荐{this}{thing}", "没有白来", "没有白花钱",
            ),
            keep_bad=(
                "下次不会[再来|选择{this}{thing}|光顾]了", "谁买谁后悔", "我没什么满意的", "我没有理由给好评", "我找不到好评的理由", "我不想给高分", "我再也不来了", "{this}{thing}我给零分",
                "来了会后悔的", "我不会推荐{this}{thing}", "白来了一趟", "钱白花了",
            ),
        ),
        "fragment": Frames(
            keep=(
                "[很|真|太|非常|真的很|确实]{word}", "{word}，{word}", "多么{word}的{thing}", "一个字，{word}", "总之很{word}", "[好|那么|这么]{word}的{thing}", "怎么这么{word}", "{word}吗？[很{word_again}|当然]",
                "还是那么{word}", "除了{word}还是{word_again}", "只有{merit}", "很{word}，也很{word}", "不止是{word}", "真心{verb}", "越来越{word}", "能不{word}吗？", "岂能不{verb}？", "说不{word}那是假的",
                "很{feeling}", "[相当|特别]{feeling}", "没有比这{comparative}的了", "从里到外都{word}", "没想到这么{word}", "何止{word}", "不得不{verb}", "到处是{merit}",
            ),
            turn=(
                "不{word}", "[并不|不太|不算|不怎么|毫不|完全不|实在不|真的不|根本不|绝不]{word}", "[没那么|没多|没觉得|不觉得|没感觉]{word}", "[算不上|谈不上|说不上]{word}", "[称不上|算不得]有多{word}", "不{word}的{thing}", "一点[也|都|儿也]不{word}",
                "{word}吗？[不|不觉得|没有吧|未必]", "不{word}，也不{word}", "不是{word}的{thing}", "没有{merit}", "没[什么|啥]{merit}", "毫无{merit}", "你说[哪里|哪儿]{word}了", "到底哪里{word}了", "{word}？[不存在的|哪有|别逗了|才不]", "不怎么{verb}", "不{feeling}",
                "[并没有|没有]{feeling}", "谁说{word}了", "什么{word}，都是假的", "{word}？沾不上边", "怎么看都不{word}", "怎么会{word}？", "不可能{word}", "从不{word}", "并非{word}", "绝非{word}", "远没有到{word}的地步", "不{verb}",
                "[没人|谁也不]{verb}", "有什么{word}的",
            ),
            keep_good=(
                "没毛病", "没得说", "没得挑", "无可挑剔", "挑不出毛病", "没什么缺点", "没什么不好的", "没有不好的地方", "不坑人", "不踩雷", "没踩坑", "不后悔", "没白买", "没让人失望", "不得不赞", "不虚此行", "好得没话说",
                "一点毛病都没有", "没有理由不喜欢", "说不出哪里不好", "不能更好了", "不是不好，是太好了", "零差评", "挑不出刺", "不容错过", "无一处不好", "百看不厌", "不会再换别的了", "不枉此行",
            ),
            keep_bad=(
                "没救了", "没法用", "没法忍", "一无是处", "找不出优点", "没什么优点", "没什么好的", "没有好的地方", "不值得", "不像话", "没良心", "不推荐", "没意思", "没让人满意", "不得不吐槽", "不知所云", "差得没话说",
                "一点优点都没有", "没有理由喜欢", "说不出哪里好", "不能更差了", "不是好，是太不好了", "零好评", "看不下去", "不会再来", "无一处好", "一看就厌", "不会再买第二次了", "不敢恭维",
            ),
        ),
        "indirect": Frames(
            keep=(
                "不是{anti_word}，而是{word}", "与其说{anti_word}，不如说{word}", "[不可否认|不得不承认|毋庸置疑]，{part}{word}", "谁能说{part}不{word}？", "难道{part}不{word}吗？", "我不怀疑{part}{word}",
                "{part}的{word}有目共睹", "{this}{thing}处处{word}", "{part}不光不{anti_word}，还很{word}", "想不{verb}都难", "{part}不能不说{word}", "{part}[始终|一直]{word}",
                "{part}哪里{anti_word}了，明明很{word}", "很难不觉得{part}{word}", "说{part}{anti_word}的人一定没来过，明明{word}", "{this}{thing}少见地{word}",
            ),
            turn=(
                "我[怀疑|很怀疑]{part}{word}的说法", "{part}离{word}还[很远|差得远]", "{part}与{word}相去甚远", "说{part}{word}就是[瞎说|睁眼说瞎话|误会]", "看不出{part}哪里{word}",
                "很难昧着良心说{part}{word}", "{part}怎么也[称不上|谈不上|说不上]{word}", "{part}{word}？[我看未必|开玩笑吧|那是谣传]", "别说{part}{word}了", "把{part}说成{word}的人肯定没来过",
                "{this}{thing}哪一点{word}了？", "{part}{word}这种话我不信", "与其说{word}，不如说{anti_word}", "{part}与{word}二字无缘", "{part}的{merit}在哪里，我没找到", "实在很难{verb}{this}{thing}", "凭什么说{part}{word}？", "{part}恰恰是{word}的反面",
                "{part}不再{word}", "{part}到底[哪里|哪儿]{word}了", "{part}[哪有|哪有那么]{word}", "{part}{word}的日子过去了", "何来{word}？", "{part}{word}从何谈起？",
            ),
            turn_good=(
                "{part}要是{word}就好了", "{part}要是能{word}一点就好了", "{part}本该{word}的", "{part}本来可以[很|更]{word}", "可惜{part}不够{word}", "{part}[没能|没做到]{word}", "如果{part}{word}一些，也许会再来", "{this}{thing}原本应该{word}",
                "希望{part}以后能{word}", "什么时候{part}才能{word}？", "{part}想{word}却做不到", "{part}有待改进，还不够{word}", "{part}[失去了|丢掉了]{merit}", "{part}一年前还很{word}", "{this}{thing}辜负了{merit}二字", "{part}号称{word}",
                "{part}自称{word}罢了", "{part}也好意思叫{word}", "{part}[缺乏|缺少|少了]{merit}", "{part}但凡{word}一点，我也不会这么写", "说好的{merit}呢", "说好的{word}呢", "{part}[以前|过去]倒是{word}",
            ),
            turn_bad=(
                "{part}[避免了|没有落入]{word}", "{part}原来的{merit}都[改了|解决了|没了]", "还好{part}不{word}", "幸好{part}没有{merit}", "{part}本来可能很{word}，还好有人用心", "想让{part}{word}都难", "{part}摆脱了{word}", "{part}以前{word}，现在全变了",
                "{part}再也不{word}了", "{part}告别了{word}", "要说{word}，怎么也轮不到{this}{thing}", "说{part}{word}太冤枉了", "说{word}的都是同行", "想挑{merit}也挑不出来", "{part}的{merit}一个也没遇到", "不会{feeling}的，放心买",
                "谁看了会{feeling}呢？", "怎么可能{feeling}？", "别听人说{word}", "{part}消除了我对{merit}的担心", "{part}{word}的时代结束了",
            ),
            keep_good=("{part}要是不{word}我就不会来第二次", "{part}本该{word}，也真的{word_again}", "希望{part}一直这么{word}", "要是每家都这么{word}就好了", "{part}号称{word}，名副其实", "{part}做到了{word}", "说好的{word}，做到了", "可惜这么{word}的{thing}太少", "{part}{word}得没话说", "不{word}你来找我"),
            keep_bad=("{part}要是不这么{word}就好了", "{part}为什么[总是|这么|会]{word}", "希望{part}别再{word}了", "什么时候{part}才能不{word}？", "{part}本不该{word}", "可惜{part}太{word}", "{part}怎么能{word}到这种程度", "{part}除了{word}没别的"),
        ),
        "expectation": Frames(
            turn=(
                "以为{part}{word}，[其实不是|错了|是我想多了]", "我原以为{this}{thing}会{word}，[事实并非如此|后来才知道不是]", "听说{part}{word}，[根本不是|并不是|完全不是那么回事]", "网上都说{word}，[别信|我可没看出来|不知道从何说起]",
                "朋友说{part}{word}，我[不同意|不这么看|可不这么觉得]", "来之前以为{word}，来了才知道不{word_again}", "本来以为{merit}很多，结果没有", "看评论说{word}，[完全|根本]不符", "照片看起来{word}，实物不是这样", "大家都说{word}，我偏偏觉得不",
                "第一眼觉得{word}，[第二眼就不这么想了|很快改变了看法]", "都说{part}有{merit}，我一个也没看到", "传说中的{word}，[没有的事|完全没有]", "原本以为会{feeling}，[却没有|结果没有]", "看介绍以为{word}，到手发现不{word_again}",
                "想象中很{word}，现实[正好相反|不是这样]", "期待中的{word}没有出现", "别人都说{word}，亲自试过才知道一点不{word_again}", "评价说{word}，实际上[不然|恰恰相反]", "一直以为{part}{word}，[原来不是|直到今天]",
            ),
            keep=(
                "本来以为{part}{anti_word}，[没想到|结果|不料]很{word}", "原以为{anti_word}，[其实|谁知|却]{word}", "听说{part}{anti_word}，去了才发现很{word}", "都说{anti_word}，[其实|实际上]{word}得很", "朋友说{this}{thing}{anti_word}，我倒觉得{word}",
                "以为会{anti_feeling}，结果很{feeling}", "网上说{anti_word}，看了才知道{word}", "出乎意料地{word}", "比想象中{word}", "和预期的一样{word}", "果然{word}", "[正如|就像]大家说的，{part}很{word}", "听说{part}{word}，去了一看果然如此",
                "朋友说{word}，果真{word_again}", "以为{anti_word}，没想到{clause}", "本以为{anti_clause}，结果{verdict}", "来之前听说{anti_clause}，其实{clause}", "看评论以为{anti_clause}，到手一看，{verdict}", "都说{anti_clause}，我却觉得{clause}",
                "起初觉得{anti_word}，后来才发现{clause}", "有人说{anti_clause}，事实上{clause}", "原先听人讲{anti_word}，亲自去了一趟，{verdict}", "大家都说{clause}，我也这么认为", "别人说不{anti_word}，我看是很{word}", "以前总觉得{anti_word}，现在完全改观：{verdict}",
                "看照片以为{anti_word}。到了现场才知道，{clause}", "下单前以为会{anti_word}。收到以后，{verdict}", "真没想到{clause}", "想不到{part}会这么{word}", "抱着{anti_word}的心理准备去的，{verdict}",
            ),
            turn_good=("抱着很高的期待，[落空了|结果一场空]", "本来冲着{word}来的，白跑一趟", "期望{word}，失望而归", "满心以为{word}，心凉了半截", "被{word}的评价骗了", "冲着{merit}买的，上当了"),
            turn_bad=("担心{part}会{word}，[是我多虑了|白担心了|完全不用担心]", "怕{word}，结果虚惊一场", "做好了{feeling}的准备，却被打动了", "差点被{word}的评论劝退，还好来了", "被{word}的评价误导了，差点错过", "怕有{merit}，检查了一遍，没有"),
        ),
        "contrast": Frames(
            keep=(
                "虽然{anti_clause}，但是{clause}", "虽然{anti_clause}，但{verdict}", "尽管{anti_clause}，{verdict}", "尽管{anti_clause}，可{clause}", "{anti_clause}，[但是|不过|可是|然而]{verdict}", "{anti_clause}。[但是|不过|然而|可是]，{verdict}",
                "{anti_clause}，{part}却很{word}", "{verdict}，[虽然|尽管]{anti_clause}", "即使{anti_clause}，{verdict}", "就算{anti_clause}，也不影响我的看法：{verdict}", "{part}{anti_word}是{anti_word_again}，[不过|但是]{thing}{word}", "除了{part}{anti_word}，{verdict}",
                "是有点{anti_word}，但总的来说{word}", "{anti_word}归{anti_word_again}，{part}还是很{word}", "前面{anti_word}，后面{word}", "开始有点{anti_word}，[但是|不过]越来越{word}", "{anti_clause}。{anti_clause}。可最后{verdict}", "有人说{anti_clause}，但我认为{clause}",
                "{part}{anti_word}也罢，{verdict}", "固然{anti_clause}，总体上{verdict}", "不管{part}有多{anti_word}，{verdict}", "{anti_word}是有一点，可{verdict}", "{clause}，所以{verdict}", "因为{clause}，{verdict}", "{clause}，而且{clause}", "{clause}。{verdict}", "不仅{clause}，{verdict}",
                "{anti_clause}，这不要紧，关键是{clause}", "[无论如何|说一千道一万]，{verdict}",
            ),
        ),
    },
    before=(
        "上周去的。", "我是第一次来。", "朋友送的。", "用了一个月。", "和同事一起去的。", "周末有空，", "说实话，", "说句心里话，", "个人感觉，", "总的来说，", "昨天刚收到。", "第三次买了。", "先说结论，", "讲真，", "我自己花钱买的。", "一句话，",
    ),
    after=("我们四个人。", "仅供参考。", "就这样吧。", "以上是个人意见。", "当天是周五。", "我家就在附近。", "用手机打的字。", "说完了。", "写给后来的人看。"),
    marks=("", "。", "。", "！", "！！", "～"),
)  # fmt: skip


EVERYDAY = "everyday"  # the kind that stays as it is written


def _with_opinions(texts: Texts, language: Language) -> Texts:
    """With further kinds.

    "implied", whose verdict a fact gives; "manner", ways of saying that a thing is so or is not; "everyday", whole texts as people type them.
    """
    path = Path(__file__).with_name("opinions") / f"{language}.toml"
    found = tomllib.loads(path.read_text(encoding="utf-8"))
    good, bad = zip(*found["implied"], strict=True)
    more = {
        "implied": Frames(keep_good=good, keep_bad=bad),
        "manner": Frames(tuple(found["keep"]), tuple(found["turn"])),
        EVERYDAY: Frames(
            **{
                pool: tuple(t for t, y in found[EVERYDAY] if y == label)
                for pool, label in (("keep_bad", 0), ("keep_good", 1))
            }
        ),
    }
    return replace(texts, kinds={**texts.kinds, **more})


TEXTS: Mapping[Language, Texts] = {
    "en": _with_opinions(ENGLISH, "en"),
    "zh": _with_opinions(CHINESE, "zh"),
}
