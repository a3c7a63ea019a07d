"""What is Wan's alone: its two experts, its words, its prompts on disk, and what it refuses before the wait."""

from __future__ import annotations

import json

import pytest
import torch

from engine.bases import locate_base, open_base
from engine.bases.checks.limits import check_video
from engine.bases.checks.weights import require_whole
from engine.bases.models.umt5 import PromptReader
from engine.bases.models.wan import Experts
from engine.bases.protocol import LearnedWord
from engine.errors import BaseInvalidError, MemoryExhaustedError, RecipeError
from engine.recipe import GenerateRecipe, motion_recipe
from engine.training.estimate import estimate_recipe
from tests.tiny import build_unet3d, open_tiny
from tests.tiny_wan import FRAMES, TEXT_WIDTH, UNIPC, build_wan


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Read it only."""
    return build_wan(tmp_path_factory.mktemp("wan") / "base")


@pytest.fixture(scope="module")
def experts(tmp_path_factory):
    return open_tiny(build_wan(tmp_path_factory.mktemp("wan") / "experts", "a14b"))


def rewrite(path, **changes):
    facts = json.loads(path.read_text("utf-8"))
    path.write_text(json.dumps(facts | changes), "utf-8")


def scene(base, times):
    shape = base.latent_shape(FRAMES, 32, 48)
    latents = torch.randn(len(times), *shape[1:], generator=torch.Generator().manual_seed(0))
    text = base.encode_text(["a dog"], {}).expand(len(times))
    return latents, torch.tensor(times), text


def test_each_sample_of_a_batch_goes_through_the_expert_of_its_time(experts):
    latents, times, text = scene(experts, [900.0, 875.0, 874.9, 20.0])
    with torch.no_grad():
        mixed = experts.denoise(latents, times, text)
        for expert, mine in (("transformer", [0, 1]), ("transformer_2", [2, 3])):
            alone = experts.denoiser.get_submodule(expert)(
                latents[mine], times[mine], text.features[mine], return_dict=False
            )[0]
            assert torch.allclose(mixed[mine], alone, atol=1e-5)


def test_experts_that_take_turns_change_places_once_a_video_and_compute_the_same(
    experts, monkeypatch
):
    latents, _, text = scene(experts, [0.0])
    times = [[999.0], [900.0], [860.0], [20.0]]
    rest, device = torch.device("cpu"), torch.device("cpu", 0)  # two names of one place
    turns = Experts(
        experts.denoiser.transformer,
        experts.denoiser.transformer_2,
        experts.denoiser.boundary,
        device,
    )
    moved = []
    for name in ("transformer", "transformer_2"):
        expert = turns.get_submodule(name)
        monkeypatch.setattr(
            expert, "to", lambda where, name=name: moved.append((name, where.index))
        )
    turns.take_turns(rest)
    for time in times:
        given = (latents, torch.tensor(time), text.features)
        with torch.no_grad():
            assert torch.equal(turns(*given)[0], experts.denoiser(*given)[0])
    assert moved[0] == ("transformer_2", None)
    places, changes = {"transformer_2": None}, []
    for name, where in moved[1:]:
        if places.get(name) != where:
            changes.append(name)
        places[name] = where
    assert changes == ["transformer", "transformer", "transformer_2"]


def test_gradients_through_both_experts_are_refused_where_they_take_turns(experts):
    latents, times, text = scene(experts, [900.0, 20.0])
    turns = Experts(
        experts.denoiser.transformer,
        experts.denoiser.transformer_2,
        experts.denoiser.boundary,
        torch.device("cpu"),
    )
    turns.take_turns()
    with pytest.raises(MemoryExhaustedError, match="both experts"):
        turns(latents, times, text.features)
    with torch.no_grad():
        assert torch.equal(
            turns(latents, times, text.features)[0],
            experts.denoiser(latents, times, text.features)[0],
        )


def test_a_gpu_that_is_short_of_memory_is_told_of_one_expert(experts):
    lean, usual = (motion_recipe("standard", {}, {"checkpointing": on}) for on in (True, False))

    def base_bytes(recipe, device):
        return estimate_recipe(experts.location, recipe, device).base

    assert base_bytes(lean, "cuda") * 2 == base_bytes(usual, "cuda")
    assert base_bytes(lean, "cpu") == base_bytes(usual, "cpu")


def test_a_motion_is_learned_at_the_times_of_its_expert(experts):
    generators = [torch.Generator().manual_seed(seed) for seed in range(50)]
    of_videos = [experts.path.draw_time(generator) for generator in generators]
    of_photos = [experts.path.draw_time(generator, is_photo=True) for generator in generators]
    assert min(of_videos) >= 875
    assert min(of_photos) < 500


def test_motion_sits_on_the_expert_for_much_noise_and_identity_on_both(experts):
    motion, identity = (experts.sites(role) for role in ("motion", "identity"))
    assert all(site.name.startswith("transformer.blocks.") for site in motion)
    assert len(identity) == len(motion) == 4
    assert {site.name.split(".")[0] for site in identity} == {"transformer", "transformer_2"}


def test_a_base_of_one_expert_alone_is_incomplete(tmp_path):
    folder = build_wan(tmp_path / "base", "a14b", image_tower=False)
    require_whole(locate_base(str(folder)))
    (folder / "transformer_2" / "diffusion_pytorch_model.safetensors").unlink()
    with pytest.raises(BaseInvalidError, match="transformer_2"):
        require_whole(locate_base(str(folder)))


def test_a_whole_base_of_one_transformer_is_whole(folder):
    require_whole(locate_base(str(folder)))


@pytest.mark.parametrize("setting", [{"boundary_ratio": 0.9}, {"expand_timesteps": True}])
def test_settings_of_the_index_are_in_the_fingerprint(tmp_path, setting):
    folder = build_wan(tmp_path / "base", image_tower=False)
    before = locate_base(str(folder)).fingerprint
    rewrite(folder / "model_index.json", **setting)
    assert locate_base(str(folder)).fingerprint != before


GOOD = {"prompt": "", "frames": 9, "height_px": 32, "width_px": 48, "sampler": "unipc"}


@pytest.mark.parametrize(
    ("changes", "message", "hint"),
    [
        ({"frames": 11}, "frames is 11; this base makes 4·k \\+ 1", "9 or 13"),
        ({"frames": 129}, "frames is 129; this base makes at most 125", "125 or fewer"),
        ({"height_px": 40}, "height is 40 px; this base makes multiples of 16", "32 or 48"),
        ({"sampler": "ddim"}, "sampler is ddim", "one of: unipc, euler"),
        ({"guidance_low": 3.0}, "guidance_low is 3; .* two experts", "guidance alone"),
    ],
)
def test_what_it_cannot_make_is_refused_before_the_wait(folder, changes, message, hint):
    location = locate_base(str(folder))
    check_video(location, GenerateRecipe(**GOOD, shift=7.0))
    with pytest.raises(RecipeError, match=message) as caught:
        check_video(location, GenerateRecipe(**GOOD | changes))
    assert caught.value.hint == hint


def test_a_shift_is_refused_where_a_base_diffuses(tiny_folder):
    with pytest.raises(RecipeError, match="shift is 3; it is a setting of flow matching"):
        check_video(locate_base(str(tiny_folder)), GenerateRecipe(prompt="", shift=3.0))


def test_the_wide_autoencoder_makes_multiples_of_32(tmp_path):
    limits = locate_base(str(build_wan(tmp_path / "base", "ti2v"))).limits
    assert (limits.latent_scale, limits.multiple_px, limits.frame_step) == (16, 32, 4)


def test_a_clip_of_frames_that_would_be_dropped_is_not_encoded(folder):
    with pytest.raises(RecipeError, match="8 frames") as caught:
        open_tiny(folder).encode_video(torch.zeros(1, 3, 8, 32, 48))
    assert caught.value.hint == "5 or 9"


def test_a_scheduler_that_diffuses_is_refused(tmp_path):
    folder = build_wan(
        tmp_path / "base",
        scheduler=UNIPC | {"use_flow_sigmas": False} | {"prediction_type": "epsilon"},
    )
    with pytest.raises(BaseInvalidError, match="learns by flow matching"):
        locate_base(str(folder))


def test_a_wan_that_makes_a_video_of_an_image_is_told_apart(tmp_path):
    folder = build_wan(tmp_path / "base", image_tower=False)
    rewrite(folder / "transformer" / "config.json", in_channels=36)
    with pytest.raises(BaseInvalidError, match="makes a video of an image"):
        locate_base(str(folder))


def test_a_folder_without_a_card_has_the_settings_of_its_kind(tmp_path):
    for kind, video, guidance in (
        ("t2v", (81, 16.0, 480, 832), {"guidance": 5.0}),
        ("ti2v", (121, 24.0, 704, 1280), {"guidance": 5.0}),
        ("a14b", (81, 16.0, 480, 832), {"guidance": 4.0, "guidance_low": 3.0}),
    ):
        folder = build_wan(tmp_path / kind, kind, card=False, image_tower=False)
        location = locate_base(str(folder))
        card = location.card.generate_defaults
        assert (card["frames"], card["fps"], card["height_px"], card["width_px"]) == video
        assert guidance.items() <= card.items()
        check_video(location, GenerateRecipe(prompt="a dog", **card))


def test_a_card_has_the_last_word_and_the_family_fills_it(folder):
    card = locate_base(str(folder)).card
    assert card.name == "tiny-wan"
    assert card.generate["negative"] == "red box"
    assert card.generate["guidance"] == 5.0
    assert card.video.height_px == 32


def word_of(offset):
    return {"<rex>": LearnedWord(offset, "red dog")}


def test_a_word_is_an_offset_at_the_tokens_of_its_class_word(folder):
    base = open_tiny(folder)
    plain = base.encode_text(["a red dog on a box"], {}).features[0]
    offset = torch.randn(TEXT_WIDTH, generator=torch.Generator().manual_seed(0))
    moved = base.encode_text(["a <rex> on a box"], word_of(offset)).features[0]
    size = plain[1:3].square().mean().sqrt()
    assert torch.allclose(moved[1:3], plain[1:3] + size * offset)
    assert torch.equal(moved[[0, *range(3, 512)]], plain[[0, *range(3, 512)]])


def test_a_word_beside_punctuation_is_found_in_the_whole_sentence(folder):
    """Tokens of pieces that are read apart are not the tokens of the whole."""
    base = open_tiny(folder)
    written = base.encode_text(["a red&amp;<rex>,  on grass"], word_of(torch.zeros(TEXT_WIDTH)))
    plain = base.encode_text(["a red&red dog, on grass"], {})
    assert torch.equal(written.features, plain.features)


def test_a_prompt_is_read_once_and_its_tower_given_back(folder, monkeypatch):
    base, reads = open_tiny(folder), []
    read = PromptReader._read
    monkeypatch.setattr(
        PromptReader, "_read", lambda self, *given: (reads.append(given), read(self, *given))[1]
    )
    first = base.encode_text(
        ["a dog", "a  dog ", "a <rex>"], {"<rex>": LearnedWord(torch.zeros(TEXT_WIDTH), "dog")}
    )
    again = base.encode_text(["a dog"], {})
    assert len(reads) == 1
    assert torch.equal(first.features[:1], again.features)
    assert base._prompts._tower is None


def test_a_prompt_that_was_read_lies_on_disk(folder, tmp_path, monkeypatch):
    def opened():
        location = locate_base(str(folder), memo=tmp_path / "cache" / "fingerprints.json")
        return open_base(location, device=torch.device("cpu"), dtype=torch.float32)

    prompts = ["a dog", ""]
    first = opened().encode_text(prompts, {}).features
    monkeypatch.setattr(PromptReader, "_load", lambda *_: pytest.fail("the tower was loaded"))
    assert torch.equal(opened().encode_text(prompts, {}).features, first)


def test_a_tower_whose_table_was_filled_under_one_name_only_is_refused(folder, monkeypatch):
    from engine.bases.models import umt5

    load = umt5.load_part

    def half_filled(model, *given, **named):
        part = load(model, *given, **named)
        if model.endswith("UMT5EncoderModel"):
            part.encoder.embed_tokens = torch.nn.Embedding(96, TEXT_WIDTH)
        return part

    monkeypatch.setattr(umt5, "load_part", half_filled)
    with pytest.raises(BaseInvalidError, match="token table"):
        open_tiny(folder).encode_text(["a dog"], {})


def test_norms_and_modulation_stay_in_full_precision(folder):
    half = open_tiny(folder, dtype=torch.bfloat16)
    full = {
        name.split(".")[-2 if name.endswith(("weight", "bias")) else -1]
        for name, parameter in half.denoiser.named_parameters()
        if parameter.dtype == torch.float32
    }
    assert full == {"scale_shift_table", "norm2", "linear_1", "linear_2"}
    assert half.denoiser.patch_embedding.weight.dtype == torch.bfloat16


def test_a_unet3d_has_no_boundary(tmp_path):
    assert locate_base(str(build_unet3d(tmp_path / "base"))).limits.boundary is None
