"""What all samples have in common, whatever file they are in."""

from __future__ import annotations

import inspect
import json
import typing
from collections.abc import Callable
from typing import Any, Literal

import pytest

from edge_runtime import plugin
from edge_runtime.cli.event import _samples
from edge_runtime.pure.events.samples._parts import some_id

SAMPLES = {
    f"{service} {name}": sample
    for service in plugin.names("pure.events.samples")
    for name, sample in _samples(service).items()
}


def test_there_are_samples_of_every_trigger() -> None:
    services = "apigateway device dynamodb eventbridge iot kinesis s3 schedule sns sqs topic websocket"
    assert set(services.split()) <= {name.split()[0] for name in SAMPLES}


@pytest.mark.parametrize("name", SAMPLES)
def test_a_sample_is_json_and_always_the_same(name: str) -> None:
    sample = SAMPLES[name]
    assert json.loads(json.dumps(sample(), allow_nan=False)) == sample() == sample()


@pytest.mark.parametrize("name", SAMPLES)
def test_a_sample_keeps_the_form_that_makes_it_a_command(name: str) -> None:
    sample: Callable[..., Any] = SAMPLES[name]
    assert (inspect.getdoc(sample) or "").startswith("Return ")
    hints = typing.get_type_hints(sample)
    for parameter in inspect.signature(sample).parameters.values():
        if parameter.kind is parameter.KEYWORD_ONLY:
            assert type(parameter.default) in (str, int, float, bool)
        else:
            assert typing.get_origin(hints[parameter.name]) is Literal
            for choice in typing.get_args(hints[parameter.name]):
                sample(choice)


def test_ids_look_like_ids_and_differ() -> None:
    assert some_id("a", 1) == some_id("a", 1) != some_id("a", 2)
    assert [len(part) for part in some_id("a").split("-")] == [8, 4, 4, 4, 12]
