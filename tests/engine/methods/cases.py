"""A small recipe for every method."""

from __future__ import annotations

from engine.recipe import (
    DreamixMotionRecipe,
    DreamixSubjectRecipe,
    InversionRecipe,
    LoraRecipe,
    MotionDirectorRecipe,
    MotionRecipe,
    ReferenceRecipe,
    SubjectRecipe,
    TuneAVideoRecipe,
)

LORA = {"lr": 0.05, "rank": 3, "batch": 3, "views": 2, "checkpointing": False}
RECIPES = {
    ("dreamvideo", "subject"): SubjectRecipe(
        class_word="dog", word_steps=2, word_lr=0.1, adapter_steps=3, adapter_lr=0.05, batch=2
    ),
    ("dreamvideo", "motion"): MotionRecipe(caption="sweeping", steps=3, lr=0.05, batch=2),
    ("word", "subject"): InversionRecipe(class_word="dog", word_steps=3, word_lr=0.1, batch=2),
    ("lora", "subject"): LoraRecipe(class_word="dog", photo_draws=9, **LORA),
    ("lora", "motion"): LoraRecipe(caption="sweeping", clip_draws=9, **LORA),
    ("lora", "joint"): LoraRecipe(
        class_word="dog", caption="sweeping", photo_draws=7, clip_draws=4, **LORA
    ),
}
CLIPS = {"caption": "sweeping", "steps": 3, "batch": 2, "checkpointing": False}
RECIPES |= {
    ("motiondirector", "motion"): MotionDirectorRecipe(lr=0.05, rank=3, **CLIPS),
    ("tune-a-video", "motion"): TuneAVideoRecipe(lr=0.01, **CLIPS),
    ("dreamix", "motion"): DreamixMotionRecipe(lr=0.01, **CLIPS),
    ("dreamix", "subject"): DreamixSubjectRecipe(class_word="dog", steps=3, lr=0.01, views=2),
    ("reference", "subject"): ReferenceRecipe(class_word="dog", steps=3, lr=0.05, rank=3),
}
