"""What the bodies of metadata definitions must be."""

from typing import Any

from hagane.api.types import BadValue, Bool, Enum, Int, ListOf, MapOf, Number, Obj, Str, Type
from hagane.errors import Forbidden, Invalid

READ_ONLY = ("self", "schema", "created_at", "updated_at")
_TYPES = ("array", "boolean", "integer", "number", "object", "string")
_NAME = Str(80, min=1)
_TEXT = Str(65535)
_WORDS = ListOf(item=_TEXT, unique=True)
_ITEM = Obj(fields={"type": Enum(values=_TYPES), "enum": ListOf()}, required=("type",))
_COUNT = Int(min=0, loose=False)
_PROPERTY: dict[str, Type] = {
    "name": _NAME, "title": _TEXT, "description": _TEXT, "operators": ListOf(item=_TEXT),
    "type": Enum(values=_TYPES), "required": _WORDS, "minimum": Number(), "maximum": Number(), "maxLength": _COUNT,
    "minLength": _COUNT, "pattern": _TEXT, "enum": ListOf(), "readonly": Bool(), "default": Type(nullable=True),
    "items": _ITEM, "maxItems": _COUNT, "minItems": _COUNT, "uniqueItems": Bool(), "additionalItems": Bool(),
}  # fmt: skip
_PROPERTIES = MapOf(value=Obj(fields=_PROPERTY, required=("title", "type")), key=_NAME, max=256)
PROPERTY = Obj(fields=_PROPERTY, required=("title", "type", "name"))
OBJECT = Obj(fields={"name": _NAME, "description": _TEXT, "required": _WORDS, "properties": _PROPERTIES},
             required=("name",))  # fmt: skip
TAG = Obj(fields={"name": _NAME}, required=("name",))
TAGS = Obj(fields={"tags": ListOf(item=TAG, max=1000)}, required=("tags",))
RESOURCE_TYPE = Obj(fields={"name": _NAME, "prefix": Str(80), "properties_target": Str(80)}, required=("name",))
NAMESPACE = Obj(
    fields={
        "namespace": _NAME, "display_name": Str(80), "description": Str(500), "protected": Bool(), "owner": Str(255),
        "visibility": Enum(values=("public", "private")), "objects": ListOf(item=OBJECT, max=1000),
        "properties": _PROPERTIES, "tags": ListOf(item=TAG, max=1000),
        "resource_type_associations": ListOf(item=RESOURCE_TYPE, max=1000),
    },
    required=("namespace",),
)  # fmt: skip


def checked(kind: str, shape: Type, body: dict[str, Any]) -> dict[str, Any]:
    """The body, as it is kept. Raises Forbidden, Invalid."""
    for name in READ_ONLY:
        if name in body:
            raise Forbidden(f"Attribute '{name}' is read-only.", code="ReadOnly")
    try:
        found: dict[str, Any] = shape.check("", body)
    except BadValue as error:
        raise Invalid(f"Provided object does not match schema '{kind}': {error.reason}", code="Invalid") from error
    return found
