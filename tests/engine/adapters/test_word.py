"""The learned word by itself; how a base reads it is in the contract of bases."""

from __future__ import annotations

import torch

from engine.adapters.word import Word
from engine.diffusion.noise import keyed_generator


def test_a_word_starts_as_the_mean_of_the_class_words_vectors():
    start = torch.tensor([[1.0, 2.0], [3.0, 6.0]])
    assert torch.equal(Word("<dog2>", "dog", start).vector, torch.tensor([2.0, 4.0]))


def test_a_words_vector_is_fp32_whatever_the_bases_precision():
    assert (
        Word("<dog2>", "dog", torch.ones(1, 4, dtype=torch.bfloat16)).vector.dtype == torch.float32
    )


def test_a_word_is_the_only_thing_learned():
    assert [name for name, _ in Word("<dog2>", "dog", torch.ones(1, 4)).named_parameters()] == [
        "vector"
    ]


def test_learning_a_word_leaves_the_class_words_vectors_alone():
    start = torch.ones(1, 4)
    with torch.no_grad():
        Word("<dog2>", "dog", start).vector.add_(1.0)
    assert torch.equal(start, torch.ones(1, 4))


def test_several_vectors_start_along_the_class_words_and_not_alike():
    start = torch.tensor([[0.0, 8.0], [4.0, 0.0]])
    word, again = (Word("<dog2>", "dog", start, vectors=3, seed=1) for _ in range(2))
    expected = torch.tensor([[0.0, 8.0], [2.0, 4.0], [4.0, 0.0]])
    noise = torch.randn(3, 2, generator=keyed_generator(1, 0, 0, "word"))
    torch.testing.assert_close(word.vector.detach(), expected + 0.01 * start.std() * noise)
    assert torch.equal(word.vector, again.vector)
    alike = Word("<dog2>", "dog", start[:1], vectors=2).vector
    assert not torch.equal(*alike)
    assert word.as_words()["<dog2>"].vectors.shape == (3, 2)


def test_a_word_s_norm_goes_a_share_of_the_way_each_vector_by_itself():
    word = Word("<dog2>", "dog", torch.ones(2, 2), vectors=2)
    with torch.no_grad():
        word.vector.copy_(torch.tensor([[3.0, 4.0], [0.0, 1.0]]))
    word.pull_norm(9.0, 0.25)
    torch.testing.assert_close(word.vector.detach(), torch.tensor([[3.6, 4.8], [0.0, 3.0]]))
