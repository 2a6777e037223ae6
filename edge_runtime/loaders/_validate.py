"""Check a part of a file against a pydantic model, and say what is wrong as its writer would put it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

import pydantic
from pydantic_core import ErrorDetails

from edge_runtime.errors import EdgeError
from edge_runtime.loaders._yaml import Document, Where, shown
from edge_runtime.plugin import nearest

Model = TypeVar("Model", bound=pydantic.BaseModel)

_WORDS = {
    "string_type": "{value} is no text; put it in quotes",
    "int_type": "{value} is no whole number",
    "int_from_float": "{value} is no whole number",
    "float_type": "{value} is no number",
    "bool_type": "{value} is neither true nor false",
    "bool_parsing": "{value} is neither true nor false",
    "list_type": "{value} is no list; write [a, b]",
    "tuple_type": "{value} is no list; write [a, b]",
    "dict_type": "{value} is no mapping; write {{key: value}}",
    "model_type": "{value} is no mapping; write {{key: value}}",
    "model_attributes_type": "{value} is no mapping; write {{key: value}}",
    "greater_than": "{value} is too small; it must be more than {gt:.12g}",
    "greater_than_equal": "{value} is too small; at least {ge:.12g}",
    "less_than": "{value} is too big; it must be less than {lt:.12g}",
    "less_than_equal": "{value} is too big; at most {le:.12g}",
    "string_too_short": "may not be empty",
    "too_short": "may not be empty",
    "string_too_long": "{value} is too long; at most {max_length} characters",
}


def check(model: type[Model], data: object, where: Where, document: Document) -> Model | None:
    """Return `data` as a `model`, and note in `document` all that is wrong with it.

    What is wrong is left out of the model, so that the rest can still be checked; None when nothing is left.
    """
    try:
        return model.model_validate(data)
    except pydantic.ValidationError as error:
        details = error.errors(include_url=False)
    for detail in details:
        here = (*where, *detail["loc"])
        document.add(here, _explain(detail, model, document.written.get(here, "")))
    if not isinstance(data, Mapping):
        return None
    wrong = {detail["loc"][0] for detail in details if detail["loc"]}
    try:
        return model.model_validate({key: value for key, value in data.items() if key not in wrong})
    except pydantic.ValidationError:
        return None  # what is wrong has been noted


def value_of(hint: Any, value: object, where: Where, document: Document) -> None:  # noqa: ANN401 - any type form
    """Note in `document` when a value is not of the type `hint`."""
    try:
        # As JSON, strictly: a list may become a tuple, but a text never a number.
        pydantic.TypeAdapter(hint).validate_json(json.dumps(value), strict=True)
    except pydantic.ValidationError as error:
        # Of a union, the reason that names its first member says most.
        document.add(where, _explain(error.errors(include_url=False)[0], None, document.written.get(where, "")))


def _explain(detail: ErrorDetails, model: type[pydantic.BaseModel] | None, written: str) -> str:
    kind, context, value, path = detail["type"], detail.get("ctx", {}), detail["input"], detail["loc"]
    if kind == "extra_forbidden" and model is not None:
        return unknown_key(str(path[-1]), _keys(model, path[:-1]))
    if kind == "missing":
        return "this key is missing"
    if kind == "value_error":
        error = context["error"]
        hint = error.hint if isinstance(error, EdgeError) else ""
        return f"{error}; {hint}" if hint else str(error)
    if kind in {"literal_error", "enum"}:
        words = str(context["expected"])
        names = [word.strip("'") for word in words.replace(" or ", ", ").split(", ")]
        return f"{shown(value)} is not allowed{choices(str(value), names, 'allowed')}"
    template = _WORDS.get(kind)
    # A number is shown as it was written (`1000s`), a text in quotes.
    text = shown(value) if isinstance(value, str) or not written else written
    return template.format(value=text, **context) if template else f"{text}: {detail['msg']}"


def unknown_key(key: str, allowed: Iterable[str]) -> str:
    """Return the words for a key that may not stand where it stands."""
    return f"unknown key{choices(key, allowed, 'allowed')}"


def choices(name: str, names: Iterable[str], word: str = "known") -> str:
    """Return the end of a message about a wrong name: the nearest right one, and all of them."""
    known = list(names)
    return f"{nearest(name, known) or ';'} {word}: {', '.join(known) or 'none'}"


def _keys(model: type[pydantic.BaseModel], path: Where) -> list[str]:
    """Return the keys that the model at `path` inside `model` has."""
    fields: Mapping[str, Any] = model.model_fields
    for part in path:
        if isinstance(part, str) and part in fields:
            inner = _inner(fields[part].annotation)
            if inner is None:
                return []
            fields = inner.model_fields
    return list(fields)


def _inner(annotation: object) -> type[pydantic.BaseModel] | None:
    """Return the model that an annotation holds: of `M`, of `M | None`, of `tuple[M, ...]`."""
    if isinstance(annotation, type) and issubclass(annotation, pydantic.BaseModel):
        return annotation
    for part in getattr(annotation, "__args__", ()):
        found = _inner(part)
        if found is not None:
            return found
    return None
