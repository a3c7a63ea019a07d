"""The nearest word that a base knows for one that it does not: a dog is an animal.

A short list of common nouns, without any model: only a base whose card lists its words needs it.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from functools import cache

from engine.bases.cards import Knowledge

# Nearest first; each word on the right is one of these, and the first that a base knows stands in for it.
KINDS: Mapping[str, str] = {
    "cat animal": "kitten kitty tomcat tiger lion lioness leopard panther lynx puma cheetah jaguar",
    "dog animal": "puppy pup hound corgi poodle labrador retriever husky beagle bulldog pug dachshund terrier spaniel"
    " collie dalmatian chihuahua shepherd mastiff chow wolf fox coyote jackal dingo",
    "bear animal": "teddy cub panda koala",
    "bunny animal": "rabbit hare",
    "mouse animal": "rat hamster gerbil squirrel chipmunk mole hedgehog",
    "pig animal": "piglet hog boar",
    "chick animal": "bird chicken hen rooster duck duckling goose swan owl eagle hawk parrot penguin robin sparrow crow"
    " raven pigeon dove pelican flamingo peacock turkey ostrich toucan",
    "fish animal": "shark whale dolphin salmon trout goldfish carp tuna seal",
    "frog animal": "toad lizard gecko salamander chameleon",
    "animal": "dog cat bear bunny mouse pig chick fish frog horse pony foal donkey mule zebra cow bull calf ox buffalo"
    " sheep lamb goat deer moose elk camel llama alpaca giraffe elephant rhino hippo kangaroo monkey ape gorilla"
    " chimpanzee lemur sloth otter beaver badger raccoon skunk weasel ferret bat snake turtle tortoise crocodile"
    " alligator dinosaur dragon unicorn crab lobster octopus squid snail spider ant bee wasp fly beetle ladybug"
    " butterfly moth insect worm pet creature beast mammal reptile person man woman boy girl child kid baby lady"
    " guy people human dancer skier skater runner player soldier king queen robot doll monster alien",
    "toy object": "plushie plush figurine puppet lego",
    "car vehicle object": "truck van bus taxi jeep lorry tractor suv sedan convertible ambulance",
    "boat vehicle object": "ship yacht canoe kayak ferry sailboat submarine raft",
    "rocket vehicle object": "spaceship missile shuttle plane airplane aeroplane jet aircraft helicopter drone",
    "vehicle car object": "bike bicycle motorcycle motorbike scooter train tram locomotive wagon cart skateboard",
    "ball object": "football basketball baseball globe sphere marble orange apple",
    "box object": "carton crate cube chest suitcase bag backpack package parcel book phone case bin basket",
    "house object": "home building hut cabin castle church tower barn shed temple skyscraper",
    "tree object": "palm pine oak bush shrub cactus bonsai",
    "flower object": "rose tulip daisy sunflower lily orchid blossom plant",
    "balloon object": "kite parachute",
    "object": "toy car boat rocket ball box house tree flower balloon star heart mushroom vehicle thing cup mug bottle"
    " glass can bowl vase plate pot kettle teapot lamp clock watch camera chair table sofa bed stool shoe boot"
    " sneaker hat cap shirt dress glasses umbrella guitar piano violin drum knife fork spoon pen pencil candle"
    " key computer laptop keyboard sword hammer tool ring statue food cake pizza burger bread fruit banana berry",
    "grass": "lawn meadow field garden park forest wood woods jungle",
    "sand": "beach desert dune",
    "sea": "ocean lake river water pool",
    "snow": "ice winter mountain",
    "stone": "road street pavement rock wall",
    "night": "space",
}
LAST = "object"  # what anything is
WORD = re.compile(r"[^\W_]+(?:['’-][^\W_]+)*")


def stand_ins(knowledge: Knowledge, words: Collection[str]) -> dict[str, str]:
    """What stands in for each of these unknown words, in small letters, where something does."""
    found = {word: _nearest(knowledge, word) for word in words}
    return {word: near for word, near in found.items() if near is not None}


def class_stand_in(knowledge: Knowledge, class_word: str, unknown: Collection[str]) -> str:
    """A class word that a base knows: ``red dog`` becomes ``red animal``, what is on no list ``object``."""
    if not unknown:
        return class_word
    near = stand_ins(knowledge, unknown)
    words = [near.get(word, word) for word in WORD.findall(class_word.lower())]
    known = [word for word in dict.fromkeys(words) if word in knowledge.words]
    if LAST in knowledge.words and not {*known} & {*knowledge.things, *knowledge.general}:
        known.append(LAST)
    return " ".join(known) or class_word


def put_stand_ins(text: str, near: Mapping[str, str], kept: Collection[str] = ()) -> str:
    """``text`` with each word's stand-in in its place, articles as they fit; the phrases in ``kept`` stay."""
    if not near:
        return text
    stays, goes = (
        "|".join(sorted(map(re.escape, filter(None, words)), key=len, reverse=True))
        for words in (kept, near)
    )
    pattern = rf"\b(an? +)?\b({goes})\b(?![-'’]\w)"
    if stays:
        pattern = rf"(?:\ban? +)?(?:{stays})|{pattern}"

    def replace(match: re.Match[str]) -> str:
        article, word = match[1], match[2]
        if word is None:
            return match[0]
        found = near[word.lower()]
        return f"{'an' if found[0] in 'aeiou' else 'a'} {found}" if article else found

    return re.sub(pattern, replace, text, flags=re.IGNORECASE)


def _nearest(knowledge: Knowledge, word: str) -> str | None:
    """The first kind of a word, or of its singular, that the base knows."""
    for form in (word, word.removesuffix("s"), word.removesuffix("es")):
        for near in (form, *_kinds_of().get(form, ())):
            if near in knowledge.words:
                return near
    return None


@cache
def _kinds_of() -> Mapping[str, tuple[str, ...]]:
    """The kinds of every word on the list; a word on several lines has all of theirs."""
    found: dict[str, tuple[str, ...]] = {}
    for kinds, words in KINDS.items():
        for word in words.split():
            found[word] = (*found.get(word, ()), *kinds.split())
    return found
