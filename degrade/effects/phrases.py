"""Generated texts for captions, prices, hashtags and badges."""

import random
import re
from collections.abc import Mapping, Sequence

# {name} stands for a word of that list, drawn anew each time.
_LISTS: Mapping[str, Sequence[str]] = {
    "thing": (
        "jacket", "lipstick", "ramen", "coffee", "sneakers", "keyboard", "backpack", "serum", "necklace",
        "desk lamp", "phone case", "dumplings", "tent", "guitar", "cactus", "handbag", "blender", "puppy",
        "sofa", "bike", "sunscreen", "hoodie", "notebook", "headphones", "pizza", "perfume", "air fryer",
    ),
    "place": (
        "Lisbon", "Seoul", "Bali", "Tokyo", "Paris", "Oslo", "Mexico City", "Istanbul", "the night market",
        "the beach", "my kitchen", "the gym", "the office", "the old town", "grandma's house", "campus",
        "the mountains", "the subway", "the rooftop", "the farm", "Ikea", "the flea market",
    ),
    "feeling": (
        "obsessed", "so happy", "speechless", "in love", "exhausted", "crying", "not okay", "proud",
        "hungry again", "blown away", "still shaking", "confused", "impressed", "a bit jealous", "hooked",
    ),
    "good": (
        "amazing", "so soft", "unreal", "worth it", "perfect", "beautiful", "delicious", "so easy",
        "genius", "super cheap", "the best", "underrated", "cute", "next level", "too good", "10/10",
    ),
    "act": (
        "try this", "go there", "buy it", "wait for it", "do this daily", "cook this", "watch till the end",
        "save this", "send it to a friend", "read the comments", "guess the price", "pack light", "zoom in",
    ),
    "time": (
        "today", "last night", "this morning", "in 2024", "at 3 am", "every Sunday", "this summer",
        "after work", "on day 12", "right now", "for 30 days", "in 5 minutes", "before breakfast",
    ),
    "who": ("my mom", "my cat", "my boss", "nobody", "everyone", "my roommate", "he", "my sister"),
    "open": ("POV:", "OMG", "Day {count}:", "Wait...", "Honestly,", "PSA:", "No way!", "Part {digit}:"),
    "end": ("!", "!!", "...", "?!", " :)", " lol", "", "", "", " haha", " (link in bio)"),
    "count": ("2", "3", "5", "7", "10", "12", "30", "50", "100", "365"),
    "digit": tuple("123456789"),
    "currency": ("$", "$", "$", "$", "US$", "R$", "Rs ", "EUR ", "S$"),
    "cents": ("", "", ".99", ".99", ".90", ".95", ".50", ".00", ".49"),
    "tag": (
        "fyp", "ootd", "foodie", "travel", "skincare", "viral", "unboxing", "homedecor", "fitcheck", "diy",
        "sale", "catsof", "streetfood", "vlog", "makeup", "gymlife", "sunset", "thrifted", "recipe", "haul",
        "photodump", "minimal", "coffeetime", "weekend", "nofilter", "studygram", "plantmom", "roadtrip",
    ),
    "suffix": ("", "", "", "", "life", "daily", "2024", "2025", "lover", "tok", "gram", "check", "oftheday"),
    "deal": ("SALE", "HOT", "NEW", "DEAL", "WOW", "TOP {digit}", "FREE", "-{digit}0%", "-{digit}5%", "1+1",
             "ONLY {digit} LEFT", "BEST", "LIVE", "NEW IN", "No. {digit}", "VIP", "x{digit}", "LAST DAY"),
}  # fmt: skip

_LINES: Mapping[str, Sequence[str]] = {
    "caption": (
        "{open} you found {good} {thing} in {place}{end}",
        "{open} {who} said no {time}{end}",
        "when {who} finally gets the {thing}{end}",
        "this {thing} is {good}{end}",
        "I tried the {thing} {time} and I'm {feeling}{end}",
        "{count} things to do in {place} {time}",
        "how to {act} {time}{end}",
        "{act}{end}",
        "Tell me you're {feeling} without telling me{end}",
        "{who} vs. the {thing}{end}",
        "don't buy this {thing} before you {act}",
        "get ready with me for {place}",
        "{place}, {time}",
        "{place} {time} was {good}{end}",
        "What I eat {time} in {place}",
        "Only {currency}{digit}{cents} for this {thing}?!",
        "{digit} reasons to {act}",
        "{feeling} with this {thing} #{tag}",
        "I can't believe {who} made this {thing}{end}",
        "before / after {count} days",
        "follow for more {thing} tips",
    ),
    "price": (
        "{currency}{digit}{cents}",
        "{currency}{digit}{digit}{cents}",
        "{currency}{digit}{digit}9{cents}",
        "{currency}{digit},{digit}99",
        "{digit}{digit} EUR",
        "{digit}{digit},{digit}0 EUR",
        "only {currency}{digit}{cents}",
        "{currency}{digit}9 each",
        "2 for {currency}{digit}{digit}",
        "from {currency}{digit}{digit}",
    ),
    "hashtag": ("#{tag}{suffix}", "#{tag}{suffix} #{tag}", "#{tag} #{tag}{suffix} #{tag}", "#{tag}_{tag}"),
    "badge": ("{deal}",),
}
KINDS = tuple(_LINES)
_LOUD = {"caption": 0.2, "badge": 0.6}  # how often in capitals; assumed


def phrase(kind: str, rng: random.Random) -> str:
    """Return one line of a kind in `KINDS`; the same state of `rng` gives the same line."""
    line = rng.choice(_LINES[kind])
    while "{" in line:
        line = re.sub(r"{(\w+)}", lambda slot: rng.choice(_LISTS[slot[1]]), line)
    return line.upper() if rng.random() < _LOUD.get(kind, 0) else line
