"""The numbers that the embedded world must reach, measured on its posts."""

import re
from collections import Counter
from dataclasses import replace

import pytest

from prefgym.data.world import FAULTS, SPLITS, VALUES, Post, blank, comments, lead_sentence, oracle, post, words
from prefgym.data.world.drafts import split_of
from prefgym.data.world.fillers import FILLERS
from prefgym.data.world.mentions import mentions
from prefgym.data.world.posts import further_references
from prefgym.data.world.samples import PATH, samples
from prefgym.data.world.text import sentences

COUNT = 3000


@pytest.fixture(scope="module")
def posts() -> list[Post]:
    return [post("train", index) for index in range(COUNT)]


@pytest.fixture(scope="module")
def held_out() -> list[Post]:
    return [post(split, index) for split in ("validation", "test") for index in range(500)]


def test_a_post_depends_on_split_and_index_alone() -> None:
    first = post("test", 7)
    post("train", 8)
    assert post("test", 7) == first
    assert len({post(split, 7).text for split in SPLITS}) == len(SPLITS)


@pytest.mark.parametrize(("split", "index"), [("dev", 0), ("train", -1)])
def test_unknown_posts_are_refused(split: str, index: int) -> None:
    with pytest.raises(ValueError, match="train, validation, test"):
        post(split, index)


def test_held_out_combinations_never_occur_in_train(posts: list[Post], held_out: list[Post]) -> None:
    def combination(p: Post) -> tuple[str, str, str]:
        return p.facts.who, p.facts.event, p.facts.thing

    by_split: dict[str, set[tuple[str, str, str]]] = {split: set() for split in SPLITS}
    for p in posts + held_out:
        assert split_of(*combination(p)) == p.split
        by_split[p.split].add(combination(p))
    assert by_split["train"].isdisjoint(by_split["validation"] | by_split["test"])
    assert by_split["validation"].isdisjoint(by_split["test"])
    assert len(by_split["test"]) > 300


def test_every_fact_is_stated_and_everything_else_stated_is_a_distractor(posts: list[Post]) -> None:
    for p in posts[:1000]:
        stated, facts = set(mentions(p.text)), set(p.facts.pairs())
        assert facts <= stated
        assert stated - facts == set(p.distractors)
        assert p.distractors


def test_frames(posts: list[Post]) -> None:
    filler = re.compile(r"\b(?:" + "|".join(re.escape(item) for items in FILLERS.values() for item in items) + r")\b")
    frames = {filler.sub("_", sentence) for p in posts for sentence in sentences(blank(p.text, p))}
    assert len(frames) >= 5000, "1,000 are asked for; names, foods and other fillers are blanked here too"


def test_vocabulary(posts: list[Post]) -> None:
    assert len({word for p in posts for word in words(p.text)}) >= 2000


def test_no_run_of_eight_words_is_frequent(posts: list[Post]) -> None:
    runs: Counter[tuple[str, ...]] = Counter()
    for p in posts:
        tokens = words(p.text)
        runs.update({tuple(tokens[i : i + 8]) for i in range(len(tokens) - 7)})
    run, count = runs.most_common(1)[0]
    assert count <= 0.01 * COUNT, " ".join(run)


def test_lengths(posts: list[Post]) -> None:
    assert all(35 <= len(words(p.text)) <= 100 for p in posts)
    assert all(15 <= len(words(oracle(p))) <= 32 for p in posts)
    assert all(5 <= len(words(p.reference)) <= 42 for p in posts)


def test_topics_registers_and_faults_all_occur(posts: list[Post]) -> None:
    assert len({p.topic for p in posts}) >= 8
    assert len({p.register for p in posts}) >= 5
    assert {p.fault for p in posts} == set(FAULTS)
    assert {slot for p in posts for slot, _ in p.distractors} >= {"who", "thing", "place", "time", "question"}


def test_the_typical_reference_falls_short_in_every_register(posts: list[Post]) -> None:
    for register in {p.register for p in posts}:
        faults = Counter(p.fault for p in posts if p.register == register)
        assert faults.most_common(1)[0][0] in ("no_question", "middle"), register
    assert Counter(p.fault for p in posts).most_common(1)[0][0] == "no_question"


def test_text_is_tidy(posts: list[Post]) -> None:
    for p in posts:
        for text in (p.text, p.reference, oracle(p), *comments(p, 2)):
            assert text[0].isupper() or text[0].isdigit()
            assert text[-1] in ".?!"
            assert not re.search(
                r"[<>\[\]{}|]|  | [.,;:?!]|a\(n\)|\ba [aeio]|\ban [^aeiouh]|\bon on\b|\bin in\b|[.,]{2}", text
            ), text


def test_the_first_post_follows_the_order_of_its_plan(posts: list[Post]) -> None:
    openings = Counter(next((slot for slot, _ in mentions(lead_sentence(p.text))), "none") for p in posts)
    assert all(openings[slot] > 0.03 * COUNT for slot in ("who", "question", "feeling", "none"))


def test_oracle_states_the_facts_and_nothing_else(held_out: list[Post]) -> None:
    for p in held_out:
        assert set(mentions(oracle(p))) == set(p.facts.pairs())


def test_summaries_and_comments_use_the_words_of_the_post(held_out: list[Post]) -> None:
    for p in held_out[:300]:
        said = p.draft.wording
        for slot in ("who", "thing", "place", "time", "feeling", "question"):
            assert said[slot].lower() in p.text.lower()
            assert said[slot].lower() in oracle(p).lower()


def test_further_references_are_such_as_the_author_writes(posts: list[Post], held_out: list[Post]) -> None:
    for p in posts[:300]:
        again = further_references(p, 3)
        assert again == further_references(p, 3) == further_references(p, 5)[:3]
        beside = {slot for text in again for slot, key in mentions(text) if (slot, key) in p.distractors}
        assert beside <= {slot for slot, _ in p.distractors}

    def share_with_question(texts: list[tuple[Post, str]]) -> float:
        return sum(("question", p.facts.question) in mentions(text) for p, text in texts) / len(texts)

    own = share_with_question([(p, p.reference) for p in posts])
    further = share_with_question([(p, text) for p in posts for text in further_references(p, 3)])
    assert further == pytest.approx(own, abs=0.04)  # 3,000 posts: a standard error of 0.009
    assert len({text for p in held_out[:50] for text in [p.reference, *further_references(p, 3)]}) > 150


def test_faults_are_what_their_names_say(posts: list[Post]) -> None:
    for p in posts:
        stated, facts = set(mentions(p.reference)), set(p.facts.pairs())
        missing = {slot for slot, _ in facts - stated}
        if p.fault == "none":
            assert stated == facts
        elif p.fault == "detail":
            assert stated < facts
            assert len(missing) == 1
            assert missing <= {"place", "time", "feeling"}
        elif p.fault == "no_question":
            assert stated < facts
            assert "question" in missing
        elif p.fault == "wrong_fact":
            assert len(stated - facts) == 1
            assert len(missing) == 1
        else:
            assert "question" in missing
            assert stated & set(p.distractors)
            assert stated <= facts | set(p.distractors)
        assert ("event" in missing) == (p.fault == "middle" or (p.fault == "wrong_fact" and "event" in missing))


def test_blank_replaces_facts_and_distractors_only() -> None:
    p = post("train", 0)
    assert blank(oracle(p), p).lower() == _blanked_by_hand(p)
    assert blank("My zookeeper met my roommate.", replace(p, distractors=())) == "My zookeeper met my roommate."


def _blanked_by_hand(p: Post) -> str:
    text = oracle(p).lower()
    for slot, key in p.facts.pairs():
        for form in sorted(VALUES[slot][key].forms, key=len, reverse=True):
            text = re.sub(rf"\b{re.escape(form)}\b", f"<{slot}>", text)
    return text


def test_comments_restate_facts() -> None:
    for index in range(200):
        p = post("train", index)
        replies = comments(p, 4)
        assert len(set(replies)) == 4
        assert comments(p, 2) == replies[:2]
        stated = {mention for reply in replies for mention in mentions(reply)}
        assert len(stated & set(p.facts.pairs())) >= 3
    with pytest.raises(ValueError, match="comments"):
        comments(post("train", 0), 1000)


def test_lead_sentence() -> None:
    assert lead_sentence("Is it so? Yes. No.") == "Is it so?"
    assert lead_sentence("  One clause only") == "One clause only"
    assert lead_sentence("") == ""


def test_the_committed_samples_are_what_the_generator_makes() -> None:
    assert PATH.read_text(encoding="utf-8") == samples()
