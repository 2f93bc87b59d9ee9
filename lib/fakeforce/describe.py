"""Describe answers: every attribute of an object and a field (REST guide: sObject Describe)."""

from __future__ import annotations

from typing import Any

from .schema import Field, Schema, SObject
from .values import text_of

_SOAP = {
    **dict.fromkeys(("double", "currency", "percent"), "xsd:double"),
    **{"int": "xsd:int", "boolean": "xsd:boolean", "date": "xsd:date", "datetime": "xsd:dateTime"},
    **{"time": "xsd:time"},
    **{"id": "tns:ID", "reference": "tns:ID"},
}

# Every object has the master record type (seen in recorded replies).
_MASTER_ID = "012000000000000AAA"
_MASTER = {
    "active": True,
    "available": True,
    "defaultRecordTypeMapping": True,
    "developerName": "Master",
    "master": True,
    "name": "Master",
    "recordTypeId": _MASTER_ID,
}


def describe_object(schema: Schema, obj: SObject, base: str) -> dict[str, Any]:
    """The whole describe; ``base`` is /services/data/vNN.0."""
    return {
        **object_summary(obj, base),
        "actionOverrides": [],
        "childRelationships": _children(schema, obj),
        "compactLayoutable": True,
        "defaultImplementation": None,
        "extendedBy": None,
        "extendsInterfaces": None,
        "fields": [describe_field(f) for f in obj.fields],
        "implementedBy": None,
        "implementsInterfaces": None,
        "listviewable": None,
        "lookupLayoutable": None,
        "namedLayoutInfos": [],
        "networkScopeFieldName": None,
        "recordTypeInfos": [
            _MASTER | {"urls": {"layout": f"{base}/sobjects/{obj.name}/describe/layouts/{_MASTER_ID}"}}
        ],
        "searchLayoutable": True,
        "sobjectDescribeOption": "FULL",
        "supportedScopes": [{"label": f"All {obj.label_plural}", "name": "everything"}],
    }


def _children(schema: Schema, obj: SObject) -> list[dict[str, Any]]:
    """The references of other objects that point here; their child relationship has no name (assumed)."""
    return [
        {
            "cascadeDelete": False,
            "childSObject": other.name,
            "deprecatedAndHidden": False,
            "field": f.name,
            "junctionIdListNames": [],
            "junctionReferenceTo": [],
            "relationshipName": None,
            "restrictedDelete": False,
        }
        for other, f in schema.references_to(obj)
    ]


def object_summary(obj: SObject, base: str) -> dict[str, Any]:
    """One entry of the global describe."""
    own = f"{base}/sobjects/{obj.name}"
    return {
        "activateable": False,
        "associateEntityType": None,
        "associateParentEntity": None,
        "createable": obj.createable,
        "custom": obj.name.endswith("__c"),
        "customSetting": False,
        "deepCloneable": False,
        "deletable": obj.deletable,
        "deprecatedAndHidden": False,
        "feedEnabled": False,
        "hasSubtypes": False,
        "isInterface": False,
        "isSubtype": False,
        "keyPrefix": obj.key_prefix,
        "label": obj.label,
        "labelPlural": obj.label_plural,
        "layoutable": True,
        "mergeable": False,
        "mruEnabled": False,
        "name": obj.name,
        "queryable": True,
        "replicateable": True,
        "retrieveable": True,
        "searchable": True,
        "triggerable": True,
        "undeletable": obj.deletable,
        "updateable": obj.updateable,
        "urls": {"sobject": own, "describe": f"{own}/describe", "rowTemplate": f"{own}/{{ID}}"},
    }


def describe_field(f: Field) -> dict[str, Any]:
    """One field; keys as recorded from a real org."""
    kind = f.type
    text = f.is_text
    default = text_of(f, f.default)
    return {
        "aggregatable": bool(f.aggregates),
        "aiPredictionField": False,
        "autoNumber": bool(f.auto_number),
        "byteLength": f.length * 3 if text else (18 if kind in ("id", "reference") else 0),
        "calculated": bool(f.formula),
        "calculatedFormula": f.formula or None,
        "cascadeDelete": False,
        "caseSensitive": f.case_sensitive,
        "compoundFieldName": None,
        "controllerName": None,
        "createable": f.createable,
        "custom": f.custom,
        "defaultValue": (f.default == 1) if kind == "boolean" else default,
        "defaultValueFormula": None,
        "defaultedOnCreate": f.defaulted,
        "dependentPicklist": False,
        "deprecatedAndHidden": False,
        "digits": 9 if kind == "int" else 0,
        "displayLocationInDecimal": False,
        "encrypted": False,
        "externalId": f.external_id,
        "extraTypeInfo": "plaintextarea" if kind == "textarea" else None,
        "filterable": not f.long_text,
        "filteredLookupInfo": None,
        "formulaTreatNullNumberAsZero": bool(f.formula),
        "groupable": f.groupable,
        "highScaleNumber": False,
        "htmlFormatted": False,
        "idLookup": f.id_lookup,
        "inlineHelpText": None,
        "label": f.label,
        "length": f.length,
        "mask": None,
        "maskType": None,
        "name": f.name,
        "nameField": f.is_name,
        "namePointing": len(f.reference_to) > 1,
        "nillable": f.nillable,
        "permissionable": f.custom and f.nillable,
        "picklistValues": [
            {"active": True, "defaultValue": v == default, "label": v, "validFor": None, "value": v}
            for v in f.values
        ],
        "polymorphicForeignKey": len(f.reference_to) > 1,
        "precision": f.precision,
        "queryByDistance": False,
        "referenceTargetField": None,
        "referenceTo": list(f.reference_to),
        "relationshipName": f.relationship_name,
        "relationshipOrder": None,
        "restrictedDelete": False,
        "restrictedPicklist": f.restricted,
        "scale": f.scale,
        "searchPrefilterable": kind == "reference",
        "soapType": _SOAP.get(kind, "xsd:string"),
        "sortable": not f.long_text and kind != "multipicklist",
        "type": kind,
        "unique": f.unique,
        "updateable": f.updateable,
        "writeRequiresMasterRead": False,
    }
