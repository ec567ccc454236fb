"""CustomResourceDefinitions to judge, written as little as possible."""

from __future__ import annotations

from typing import Any

import yaml

__all__ = ["CLEAN", "ROOT", "SPEC", "definition", "with_rule"]

ROOT = "spec.versions[0].schema.openAPIV3Schema"
"""Path of the schema of a version."""
SPEC = f"{ROOT}.properties[spec]"
"""Path of its spec."""

CLEAN = """
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: things.example.test}
spec:
  group: example.test
  scope: Namespaced
  names: {kind: Thing, plural: things, singular: thing, listKind: ThingList}
  versions:
  - name: v1
    served: true
    storage: true
    subresources: {status: {}}
    additionalPrinterColumns:
    - {name: Size, type: integer, jsonPath: .spec.size}
    schema:
      openAPIV3Schema:
        type: object
        properties:
          metadata: {type: object, properties: {name: {type: string, maxLength: 52}}}
          spec:
            type: object
            required: [size]
            properties:
              size: {type: integer}
              word: {type: string, maxLength: 10}
              namespace: {type: string, maxLength: 10}
              share: {type: number, default: 0.5}
              amount: {x-kubernetes-int-or-string: true, anyOf: [{type: integer}, {type: string}]}
              labels:
                type: object
                maxProperties: 8
                additionalProperties: {type: string, maxLength: 10}
              part:
                type: object
                default: {least: 1, most: 2}
                properties:
                  least: {type: integer, default: 1}
                  most: {type: integer, default: 2}
                x-kubernetes-validations:
                - {rule: self.least <= self.most, message: least must be at most most}
              names:
                type: array
                maxItems: 8
                x-kubernetes-list-type: set
                items: {type: string, maxLength: 10}
              ports:
                type: array
                maxItems: 8
                x-kubernetes-list-type: map
                x-kubernetes-list-map-keys: [name]
                items:
                  type: object
                  required: [name]
                  properties: {name: {type: string, maxLength: 10}, port: {type: integer}}
          status: {type: object, properties: {phase: {type: string}}}
"""
"""One that has no fault."""


def definition(changes: str = "", *, properties: bool = True) -> dict[str, Any]:
    """Return the clean definition with some parts of it changed.

    Args:
        changes: YAML; maps are merged, all else replaces what was there, and null removes it.
        properties: Whether ``changes`` are properties of the spec, or else the whole definition.
    """
    clean = yaml.safe_load(CLEAN)
    given = yaml.safe_load(changes) or {}
    target = clean
    if properties:
        (version,) = clean["spec"]["versions"]
        target = version["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]
    _merge(target, given)
    return dict(clean)


def _merge(target: Any, given: Any) -> None:
    for name, value in given.items():
        if isinstance(target, list):
            _merge(target[name], value)
        elif value is None:
            del target[name]
        elif name in target and isinstance(value, dict) and isinstance(target[name], dict | list):
            _merge(target[name], value)
        else:
            target[name] = value


def with_rule(rule: str, **more: Any) -> dict[str, Any]:
    """Return the clean definition with a rule on its spec."""
    clean = yaml.safe_load(CLEAN)
    (version,) = clean["spec"]["versions"]
    spec = version["schema"]["openAPIV3Schema"]["properties"]["spec"]
    spec["x-kubernetes-validations"] = [{"rule": rule, "message": "no", **more}]
    return dict(clean)
