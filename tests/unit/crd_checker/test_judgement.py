"""Wrong CustomResourceDefinitions of each sort: the one fault that each has, and where."""

from __future__ import annotations

from typing import Any

import pytest

from mmrlhf_api import KINDS
from mmrlhf_api.crd import crd
from tests.crd_checker import Fault, Sort, check
from tests.unit.crd_checker.specimens import ROOT, SPEC, definition

# Properties of the spec, where the fault is below it, what it is about, and words of the message.
SCHEMAS = [
    ("x: {description: any}", "[x].type", Sort.STRUCTURE, "must not be empty"),
    ("x: {type: text}", "[x].type", Sort.STRUCTURE, "'text' is not one of"),
    ("x: {type: array, x-kubernetes-list-type: atomic}", "[x].items", Sort.STRUCTURE, "specified"),
    ("x: {type: array, items: [{type: string}]}", "[x].items", Sort.STRUCTURE, "not a list"),
    ("x: {type: object, $ref: '#/definitions/x'}", "[x].$ref", Sort.STRUCTURE, "not supported"),
    (
        "x: {type: object, patternProperties: {a: {type: string}}}",
        "[x].patternProperties",
        Sort.STRUCTURE,
        "not supported",
    ),
    ("x: {type: string, const: a}", "[x].const", Sort.STRUCTURE, "unknown field"),
    (
        "x: {type: object, properties: {a: {type: string}}, additionalProperties: {type: string}}",
        "[x].additionalProperties",
        Sort.STRUCTURE,
        "exclude each other",
    ),
    (
        "x: {type: object, properties: {a: {type: string}}, additionalProperties: false}",
        "[x].additionalProperties",
        Sort.STRUCTURE,
        "exclude each other",
    ),
    (
        "x: {type: array, uniqueItems: true, items: {type: string}}",
        "[x].uniqueItems",
        Sort.STRUCTURE,
        "quadratic",
    ),
    (
        "x: {type: integer, exclusiveMinimum: 3}",
        "[x].exclusiveMinimum",
        Sort.STRUCTURE,
        "true or false",
    ),
    (
        "x: {type: string, x-kubernetes-int-or-string: true}",
        "[x].type",
        Sort.STRUCTURE,
        "must be empty if x-kubernetes-int-or-string",
    ),
    (
        "x: {x-kubernetes-int-or-string: true, x-kubernetes-preserve-unknown-fields: true}",
        "[x].x-kubernetes-preserve-unknown-fields",
        Sort.STRUCTURE,
        "must be false",
    ),
    (
        "x: {type: object, x-kubernetes-preserve-unknown-fields: false}",
        "[x].x-kubernetes-preserve-unknown-fields",
        Sort.STRUCTURE,
        "true or undefined",
    ),
    (
        "x: {type: object, x-kubernetes-embedded-resource: true}",
        "[x].properties",
        Sort.STRUCTURE,
        "must not be empty in an embedded resource",
    ),
    (
        "x: {x-kubernetes-embedded-resource: true, x-kubernetes-preserve-unknown-fields: true}",
        "[x].type",
        Sort.STRUCTURE,
        "must be object",
    ),
    (
        (
            "x: {x-kubernetes-embedded-resource: true, type: object, additionalProperties: true,"
            " x-kubernetes-preserve-unknown-fields: true}"
        ),
        "[x].additionalProperties",
        Sort.STRUCTURE,
        "embedded",
    ),
    (
        (
            "x: {x-kubernetes-embedded-resource: true, type: object,"
            " properties: {kind: {type: object}}}"
        ),
        "[x].properties[kind].type",
        Sort.STRUCTURE,
        "must be string",
    ),
    ("x: {type: string, pattern: '('}", "[x].pattern", Sort.STRUCTURE, "no regular expression"),
    ("x: {type: string, pattern: '(?!a)b'}", "[x].pattern", Sort.STRUCTURE, "RE2"),
    (r"x: {type: string, pattern: '(a)\1'}", "[x].pattern", Sort.STRUCTURE, "RE2"),
    (
        "x: {type: string, anyOf: [{type: string}]}",
        "[x].anyOf[0].type",
        Sort.STRUCTURE,
        "to be structural",
    ),
    (
        "x: {type: object, not: {properties: {a: {enum: [b]}}}}",
        "[x].not.properties[a]",
        Sort.STRUCTURE,
        "also be specified outside",
    ),
    (
        "x: {type: string, allOf: [{default: a}]}",
        "[x].allOf[0].default",
        Sort.STRUCTURE,
        "to be structural",
    ),
    (
        "x: {type: string, oneOf: [{pattern: '('}]}",
        "[x].oneOf[0].pattern",
        Sort.STRUCTURE,
        "no regular expression",
    ),
    (
        (
            "x: {type: object, properties: {metadata: {type: object}},"
            " not: {properties: {metadata: {required: [a]}}}}"
        ),
        "[x].not.properties[metadata]",
        Sort.STRUCTURE,
        "nested context",
    ),
    # lists and maps
    ("names: {x-kubernetes-list-type: bag}", "[names].x-kubernetes-list-type", Sort.LIST, "'bag'"),
    (
        "x: {type: string, x-kubernetes-list-type: atomic}",
        "[x].type",
        Sort.LIST,
        "must be array",
    ),
    ("part: {x-kubernetes-map-type: deep}", "[part].x-kubernetes-map-type", Sort.LIST, "'deep'"),
    ("x: {type: string, x-kubernetes-map-type: atomic}", "[x].type", Sort.LIST, "must be object"),
    (
        "names: {x-kubernetes-list-map-keys: [a]}",
        "[names].x-kubernetes-list-type",
        Sort.LIST,
        "must be map",
    ),
    (
        "ports: {x-kubernetes-list-map-keys: []}",
        "[ports].x-kubernetes-list-map-keys",
        Sort.LIST,
        "must not be empty",
    ),
    (
        "ports: {x-kubernetes-list-map-keys: [name, name]}",
        "[ports].x-kubernetes-list-map-keys",
        Sort.LIST,
        "duplicate",
    ),
    (
        "ports: {x-kubernetes-list-map-keys: [id]}",
        "[ports].x-kubernetes-list-map-keys",
        Sort.LIST,
        "'id' is no property",
    ),
    (
        "ports: {x-kubernetes-list-map-keys: [port]}",
        "[ports].items.properties[port].default",
        Sort.LIST,
        "required or has a default",
    ),
    (
        "ports: {items: {properties: {name: {type: object}}}}",
        "[ports].items.properties[name].type",
        Sort.LIST,
        "must be a scalar",
    ),
    (
        "ports: {items: {properties: {name: {nullable: true}}}}",
        "[ports].items.properties[name].nullable",
        Sort.LIST,
        "cannot be nullable",
    ),
    (
        "ports: {items: {type: string, properties: null, required: null}}",
        "[ports].items.type",
        Sort.LIST,
        "must be object",
    ),
    (
        "names: {items: {nullable: true}}",
        "[names].items.nullable",
        Sort.LIST,
        "the list type is set",
    ),
    (
        "names: {items: {type: object}}",
        "[names].items.x-kubernetes-map-type",
        Sort.LIST,
        "entry of a set",
    ),
    (
        "names: {items: {type: array, x-kubernetes-list-type: set, items: {type: string}}}",
        "[names].items.x-kubernetes-list-type",
        Sort.LIST,
        "entry of a set",
    ),
    # defaults
    ("size: {default: many}", "[size].default", Sort.DEFAULT, "must be of type integer, not str"),
    ("size: {default: 1.5}", "[size].default", Sort.DEFAULT, "must be of type integer"),
    ("size: {default: true}", "[size].default", Sort.DEFAULT, "must be of type integer"),
    ("size: {default: 3, maximum: 2}", "[size].default", Sort.DEFAULT, "above the maximum 2"),
    ("size: {default: 1, minimum: 2}", "[size].default", Sort.DEFAULT, "below the minimum 2"),
    (
        "size: {default: 2, minimum: 2, exclusiveMinimum: true}",
        "[size].default",
        Sort.DEFAULT,
        "below the minimum 2",
    ),
    (
        "size: {default: 2, maximum: 2, exclusiveMaximum: true}",
        "[size].default",
        Sort.DEFAULT,
        "above the maximum 2",
    ),
    ("size: {default: 3, multipleOf: 2}", "[size].default", Sort.DEFAULT, "no multiple"),
    ("word: {default: elevenchars}", "[word].default", Sort.DEFAULT, "at most 10 characters"),
    ("word: {default: a, minLength: 2}", "[word].default", Sort.DEFAULT, "at least 2 characters"),
    ("word: {default: a, pattern: ^b}", "[word].default", Sort.DEFAULT, "must match ^b"),
    ("word: {default: a, enum: [b]}", "[word].default", Sort.DEFAULT, "'a' is not one of 'b'"),
    ("word: {default: a, not: {enum: [a]}}", "[word].default", Sort.DEFAULT, "not fit not"),
    ("word: {default: a, allOf: [{enum: [b]}]}", "[word].default", Sort.DEFAULT, "allOf"),
    ("word: {default: a, anyOf: [{enum: [b]}]}", "[word].default", Sort.DEFAULT, "anyOf"),
    (
        "word: {default: a, oneOf: [{enum: [a]}, {maxLength: 3}]}",
        "[word].default",
        Sort.DEFAULT,
        "oneOf",
    ),
    ("amount: {default: 1.5}", "[amount].default", Sort.DEFAULT, "an integer or a string"),
    ("names: {default: [a, 1]}", "[names].default[1]", Sort.DEFAULT, "must be of type string"),
    ("names: {default: [a], minItems: 2}", "[names].default", Sort.DEFAULT, "at least 2 items"),
    ("names: {default: [a, b], maxItems: 1}", "[names].default", Sort.DEFAULT, "at most 1 items"),
    ("names: {default: [null]}", "[names].default[0]", Sort.DEFAULT, "null is not allowed"),
    ("labels: {default: {a: 1}}", "[labels].default.a", Sort.DEFAULT, "must be of type string"),
    (
        "ports: {default: [{port: 1}]}",
        "[ports].default[0].name",
        Sort.DEFAULT,
        "is required",
    ),
    ("part: {default: {depth: 1}}", "[part].default", Sort.DEFAULT, "must not have unknown"),
    (
        (
            "names: {default: [{a: b}], items: {type: object, maxLength: null,"
            " x-kubernetes-map-type: atomic}}"
        ),
        "[names].default",
        Sort.DEFAULT,
        "must not have unknown",
    ),
    # rules on defaults, as they are written
    (
        "part: {default: {least: 3}}",
        "[part].default",
        Sort.DEFAULT,
        "least must be at most most",
    ),
    (
        (
            "x: {type: object, default: {}, properties: {a: {type: integer, default: 1}},"
            " x-kubernetes-validations: [{rule: self.a > 0, message: above 0}]}"
        ),
        "[x].default",
        Sort.DEFAULT,
        "no such key: a evaluating rule: above 0",
    ),
    (  # the rule of a field, broken by the default of what it is in
        (
            "x: {type: object, default: {a: 0}, properties: {a: {type: integer,"
            " x-kubernetes-validations: [{rule: self > 0, message: above 0}]}}}"
        ),
        "[x].default.a",
        Sort.DEFAULT,
        "above 0",
    ),
    (  # oldSelf is the default itself
        (
            "x: {type: integer, default: 1,"
            " x-kubernetes-validations: [{rule: self > oldSelf, message: must grow}]}"
        ),
        "[x].default",
        Sort.DEFAULT,
        "must grow",
    ),
    (
        (
            "x: {type: array, maxItems: 2, default: [0], items: {type: integer,"
            " x-kubernetes-validations: [{rule: self > 0, message: above 0}]}}"
        ),
        "[x].default[0]",
        Sort.DEFAULT,
        "above 0",
    ),
    (
        (
            "x: {type: object, maxProperties: 2, default: {a: 0}, additionalProperties:"
            " {type: integer, x-kubernetes-validations: [{rule: self > 0, message: above 0}]}}"
        ),
        "[x].default.a",
        Sort.DEFAULT,
        "above 0",
    ),
]


def faults_of(definition_: dict[str, Any], **options: Any) -> list[Fault]:
    """Return the faults; the clean definition has none, so that each is of the change."""
    return check(definition_, **options)


def test_a_definition_without_fault_has_none() -> None:
    assert check(definition()) == []
    assert check(definition("word: {pattern: '^a{2}[^b]*(?:c|d)$', nullable: true}")) == []
    assert check(definition("amount: {allOf: [{anyOf: [{type: integer}, {type: string}]}],"
                            " anyOf: null, default: 10%}")) == []  # fmt: skip
    assert check(definition("word: {anyOf: [{maxLength: 3}, {pattern: ^a}], default: abcd}")) == []
    assert check(definition("part: {not: {properties: {least: {enum: [7]}}}}")) == []
    assert check(definition("x: {type: object, x-kubernetes-preserve-unknown-fields: true,"
                            " default: {anything: [1]}}")) == []  # fmt: skip
    assert check(definition("x: {type: object, x-kubernetes-embedded-resource: true,"
                            " properties: {kind: {type: string}}}")) == []  # fmt: skip
    assert check(definition("x: {type: string, nullable: true, default: a}")) == []


@pytest.mark.parametrize(("changes", "field", "sort", "words"), SCHEMAS)
def test_a_schema_with_a_fault(changes: str, field: str, sort: Sort, words: str) -> None:
    (fault,) = faults_of(definition(changes))
    assert (fault.field, fault.sort) == (f"{SPEC}.properties{field}", sort)
    assert words in fault.message
    assert not fault.sort.ours


# What is outside of the spec's schema: changes to the definition, where and what the fault is.
_ROOT = "spec: {versions: {0: {schema: {openAPIV3Schema: %s}}}}"
RESOURCES = [
    ("metadata: {name: thing.example.test}", "metadata.name", "must be spec.names.plural"),
    (
        "{metadata: {name: things.test}, spec: {group: test}}",
        "spec.group",
        "no domain with at least one dot",
    ),
    (
        "{metadata: {name: things.a.k8s.io}, spec: {group: a.k8s.io}}",
        "metadata.annotations[api-approved.kubernetes.io]",
        "is required",
    ),
    ("spec: {scope: Everywhere}", "spec.scope", "'Everywhere' is not Namespaced or Cluster"),
    ("spec: {preserveUnknownFields: true}", "spec.preserveUnknownFields", "cannot be true"),
    ("spec: {names: {kind: 1Thing}}", "spec.names.kind", "no DNS label"),
    ("spec: {names: {singular: Thing}}", "spec.names.singular", "lower case"),
    ("spec: {names: {listKind: Thing}}", "spec.names.listKind", "same as kind"),
    ("spec: {names: {listKind: null}}", "spec.names.listKind", "no DNS label"),
    ("spec: {names: {shortNames: [t, T]}}", "spec.names.shortNames[1]", "no DNS label"),
    ("spec: {names: {categories: [a.b]}}", "spec.names.categories[0]", "no DNS label"),
    ("spec: {conversion: {strategy: Magic}}", "spec.conversion.strategy", "'Magic'"),
    (
        "spec: {conversion: {strategy: None, webhook: {}}}",
        "spec.conversion.webhook",
        "not Webhook",
    ),
    (
        "spec: {conversion: {strategy: Webhook, webhook: {conversionReviewVersions: [v1]}}}",
        "spec.conversion.webhook.clientConfig",
        "exactly one of url and service",
    ),
    (
        "spec: {conversion: {strategy: Webhook, webhook: {clientConfig: {url: 'https://a'}}}}",
        "spec.conversion.webhook.conversionReviewVersions",
        "must include v1",
    ),
    ("spec: {versions: {0: {name: V1}}}", "spec.versions[0].name", "no DNS label"),
    ("spec: {versions: {0: {storage: false}}}", "spec.versions", "exactly one"),
    ("status: {storedVersions: [v1, v0]}", "status.storedVersions[1]", "v0 is not in"),
    ("spec: {versions: {0: {schema: null}}}", ROOT, "schemas are required"),
    (
        "spec: {versions: {0: {deprecationWarning: old}}}",
        "spec.versions[0].deprecationWarning",
        "only be set for deprecated",
    ),
    (
        "spec: {versions: {0: {deprecated: true, deprecationWarning: ''}}}",
        "spec.versions[0].deprecationWarning",
        "1 to 256",
    ),
    (
        (
            "spec: {versions: {0: {subresources: {scale: {specReplicasPath: .size,"
            " statusReplicasPath: .status.a}}}}}"
        ),
        "spec.versions[0].subresources.scale.specReplicasPath",
        "under .spec.",
    ),
]
COLUMNS = [
    ("{type: integer, jsonPath: .spec.size}", "name", "is required", Sort.RESOURCE),
    ("{name: A, type: int, jsonPath: .spec.size}", "type", "'int' is not one of", Sort.RESOURCE),
    (
        "{name: A, type: integer, format: long, jsonPath: .spec.size}",
        "format",
        "'long' is not one of",
        Sort.RESOURCE,
    ),
    ("{name: A, type: integer, jsonPath: spec.size}", "jsonPath", "starts with", Sort.RESOURCE),
    ("{name: A, type: integer, jsonPath: .spec.width}", "jsonPath", "'width'", Sort.COLUMN),
    ("{name: A, type: integer, jsonPath: .spec.word}", "jsonPath", "of type string", Sort.COLUMN),
    ("{name: A, type: date, jsonPath: .spec.word}", "jsonPath", "type date", Sort.COLUMN),
]
ROOTS = [
    ("{type: array, items: {type: string}}", ".type", "must be object at the root"),
    ("{nullable: true}", ".nullable", "cannot be true at the root"),
    ("{additionalProperties: true}", ".additionalProperties", "must not be used at the root"),
    ("{maxProperties: 4}", ".maxProperties", "must not be at the root with the status"),
    ("{properties: {metadata: {type: string}}}", ".properties[metadata].type", "must be object"),
    (
        "{properties: {metadata: {properties: {labels: {type: object}}}}}",
        ".properties[metadata]",
        "not labels",
    ),
    (
        "{properties: {metadata: {description: any}}}",
        ".properties[metadata]",
        "must not specify description",
    ),
]


@pytest.mark.parametrize(("changes", "field", "words"), RESOURCES)
def test_a_resource_with_a_fault(changes: str, field: str, words: str) -> None:
    (fault,) = faults_of(definition(changes, properties=False))
    assert (fault.field, fault.sort) == (field, Sort.RESOURCE)
    assert words in fault.message


@pytest.mark.parametrize(("column", "key", "words", "sort"), COLUMNS)
def test_a_column_with_a_fault(column: str, key: str, words: str, sort: Sort) -> None:
    changes = f"spec: {{versions: {{0: {{additionalPrinterColumns: [{column}]}}}}}}"
    (fault,) = faults_of(definition(changes, properties=False))
    assert fault.field == f"spec.versions[0].additionalPrinterColumns[0].{key}"
    assert words in fault.message
    assert fault.sort is sort
    assert fault.sort.ours is (sort is Sort.COLUMN)


@pytest.mark.parametrize(("root", "field", "words"), ROOTS)
def test_a_root_with_a_fault(root: str, field: str, words: str) -> None:
    faults = faults_of(definition(_ROOT % root, properties=False))
    assert (f"{ROOT}{field}", Sort.STRUCTURE) in {(fault.field, fault.sort) for fault in faults}
    assert any(words in fault.message for fault in faults)


@pytest.mark.parametrize(
    ("root", "field", "words"),
    [
        ("{properties: {kind: {type: string, default: a}}}", "properties[kind]", "top-level kind"),
        (
            "{properties: {metadata: {properties: {name: {default: a}}}}}",
            "properties[metadata].properties[name]",
            "top-level metadata",
        ),
    ],
)
def test_a_default_where_none_may_be(root: str, field: str, words: str) -> None:
    (fault,) = faults_of(definition(_ROOT % root, properties=False))
    assert (fault.field, fault.sort) == (f"{ROOT}.{field}.default", Sort.DEFAULT)
    assert words in fault.message


def test_an_integer_or_string_is_no_resource() -> None:
    both = "x: {x-kubernetes-int-or-string: true, x-kubernetes-embedded-resource: true}"
    fields = {fault.field for fault in check(definition(both))}
    assert f"{SPEC}.properties[x].x-kubernetes-embedded-resource" in fields


def test_a_default_at_the_root() -> None:
    changes = (
        "spec: {versions: {0: {subresources: null, schema: {openAPIV3Schema: {default: {}}}}}}"
    )
    (fault,) = check(definition(changes, properties=False))
    assert (fault.field, fault.sort) == (f"{ROOT}.default", Sort.DEFAULT)


@pytest.mark.parametrize(
    ("rule", "more"),
    [
        ("quantity(self).isInteger()", {}),
        ("self == oldSelf.orValue('')", {"optionalOldSelf": True}),
    ],
)
def test_a_rule_on_a_default_that_cannot_be_evaluated_is_told(
    rule: str, more: dict[str, Any]
) -> None:
    """cel-python has not all that servers have; nobody is to think that it was judged."""
    changed = definition("word: {default: '1'}")
    (version,) = changed["spec"]["versions"]
    word = version["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]["word"]
    word["x-kubernetes-validations"] = [{"rule": rule, "message": "no", **more}]
    faults = check(changed, oldest=29)
    assert [(fault.field, fault.sort) for fault in faults] == [
        (f"{SPEC}.properties[word].default", Sort.DEFAULT)
    ]


def test_versions_are_told_apart() -> None:
    twice = definition()
    twice["spec"]["versions"] *= 2
    assert [fault.message for fault in check(twice)] == [
        "must have exactly one with storage: true",
        "must have unique names",
    ]


@pytest.mark.parametrize(
    ("paths", "index", "words"),
    [
        ([".metadata.name"], 0, "must not point to metadata"),
        ([".spec.width"], 0, "an invalid path"),
        ([".spec.labels['a']"], 0, "brackets are not allowed"),
        ([".spec.share"], 0, "a string, boolean or integer"),
        ([".spec.size", ".spec.size"], 1, "given twice"),
    ],
)
def test_selectable_fields(paths: list[str], index: int, words: str) -> None:
    changed = definition()
    (version,) = changed["spec"]["versions"]
    version["selectableFields"] = [{"jsonPath": path} for path in paths]
    (fault,) = check(changed, oldest=30)
    assert fault.field == f"spec.versions[0].selectableFields[{index}].jsonPath"
    assert words in fault.message


def test_selectable_fields_are_new_and_few() -> None:
    changed = definition("\n".join(f"a{n}: {{type: integer}}" for n in range(9)))
    (version,) = changed["spec"]["versions"]
    version["selectableFields"] = [{"jsonPath": f".spec.a{n}"} for n in range(8)]
    assert check(changed, oldest=30) == []
    assert [fault.sort for fault in check(changed, oldest=29)] == [Sort.NEWER]
    version["selectableFields"].append({"jsonPath": ".spec.a8"})
    (fault,) = check(changed, oldest=30)
    assert fault.message == "must be at most 8"


def as_first_shipped(node: Any) -> Any:
    """Return a definition with ``default: {}`` for each object, as servers refused it."""
    if isinstance(node, dict):
        new = {key: as_first_shipped(value) for key, value in node.items()}
        if "properties" in new and isinstance(new.get("default"), dict):
            new["default"] = {}
        return new
    return [as_first_shipped(entry) for entry in node] if isinstance(node, list) else node


REFUSED = {
    "MMDPOJob": ["resources", "runPolicy", "runPolicy", "trainable"],
    "RewardTrainJob": [
        *("inference", "objective", "resources", "runPolicy", "runPolicy", "trainable")
    ],
    "ClusterSampleJob": ["ratio", "resources", "runPolicy", "runPolicy"],
}
"""Fields in which Kubernetes 1.36.2 saw the 14 faults of the first definitions, one for each rule
that reads a field which only the default of a field fills in; kinds that came later had none."""


@pytest.mark.parametrize("kind", REFUSED)
def test_what_a_server_refused_is_refused_with_the_same_fields(kind: str) -> None:
    faults = check(as_first_shipped(crd(KINDS[kind])))
    expected = [f"{SPEC}.properties[{field}].default" for field in REFUSED[kind]]
    assert [fault.field for fault in faults] == expected
    assert {fault.sort for fault in faults} == {Sort.DEFAULT}
    for fault in faults:
        assert fault.message.startswith("no such key: ")
    assert sum(map(len, REFUSED.values())) == 14


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_shipped_has_no_fault(kind: str) -> None:
    assert check(crd(KINDS[kind])) == []
    assert check(crd(KINDS[kind], cel=False)) == []
