#!/usr/bin/env bash
# The CycloneDX library for Python drops parts of a valid bill of materials that it reads and writes.
#
# Expected, written down before the first run: Bom.from_json() and the JSON output of the same schema version keep what
# the strict validator of the same library accepts, or there is an error or a warning.
# Observed: compositions (so the statement that the list is complete), annotations, formulation, declarations, a
# component's signature and a dependency's `provides` are gone, without a word. Two equal properties become one, and
# the others are sorted, although the specification allows a name more than once.
# Versions: cyclonedx-python-lib 11.12.0, schema 1.6.
# Documented: the page "Schema Support" lists parts that are not supported; not that reading drops them silently.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv python
python/bin/pip install --quiet --disable-pip-version-check 'cyclonedx-python-lib[json-validation]==11.12.0'
cat >copy_bom.py <<'PY'
import copy, json
from cyclonedx.model.bom import Bom
from cyclonedx.output import make_outputter
from cyclonedx.schema import OutputFormat, SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

component = {
    "type": "library",
    "name": "a",
    "version": "1",
    "bom-ref": "a",
    "signature": {"algorithm": "HS256", "value": "AAAA"},
    "properties": [{"name": "z", "value": "1"}, {"name": "z", "value": "1"}, {"name": "b", "value": "2"}],
}
source = {
    "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
    "bomFormat": "CycloneDX",
    "specVersion": "1.6",
    "serialNumber": "urn:uuid:3e671687-395b-41f5-a30f-a58921a69b79",
    "version": 1,
    "components": [component, {"type": "library", "name": "b", "version": "1", "bom-ref": "b"}],
    "dependencies": [{"ref": "a", "provides": ["b"]}, {"ref": "b"}],
    "compositions": [{"aggregate": "complete", "assemblies": ["a", "b"]}],
    "annotations": [
        {"subjects": ["a"], "annotator": {"individual": {"name": "n"}}, "timestamp": "2026-01-01T00:00:00Z", "text": "t"}
    ],
    "formulation": [{"bom-ref": "f"}],
    "declarations": {"assessors": [{"thirdParty": True}]},
    "definitions": {"standards": [{"name": "s"}]},
}
print("valid:", JsonStrictValidator(SchemaVersion.V1_6).validate_str(json.dumps(source)) is None)
bom = Bom.from_json(data=copy.deepcopy(source))
written = json.loads(make_outputter(bom, OutputFormat.JSON, SchemaVersion.V1_6).output_as_string())
print("missing in the document:", *sorted(source.keys() - written.keys()))
print("missing in the component:", *sorted(component.keys() - written["components"][0].keys()))
print("missing in the dependency:", *sorted({"ref", "provides"} - written["dependencies"][0].keys()))
print("properties:", *(f"{entry['name']}={entry['value']}" for entry in written["components"][0]["properties"]))
PY
seen=$(python/bin/python -W error::UserWarning copy_bom.py)
echo "$seen"
[ "$seen" = "valid: True
missing in the document: annotations compositions declarations formulation
missing in the component: signature
missing in the dependency: provides
properties: b=2 z=1" ] || {
  echo "the result differs from the one observed before" >&2
  exit 1
}
