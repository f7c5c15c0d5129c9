"""Writes what SAM makes of template.yaml, with the parameters' values where SAM itself reads them: expand_template.py OUT [NAME=VALUE]…

CODE=KEY names the function's zip in the bucket code-bucket. ARCHITECTURE=x86_64 is for a machine that is not arm64.
"""

import json
import sys

from samtranslator.translator.transform import transform
from samtranslator.yaml_helper import yaml_parse


class NoManagedPolicies:
    def load(self):
        return {}


def expand(code="bootstrap.zip", architecture=None, path="template.yaml", **values):
    template = yaml_parse(open(path).read())
    for name, function in template["Resources"].items():
        if function["Type"] == "AWS::Serverless::Function":
            key = code if name == "ReceiverFunction" else f"{name}.zip"
            function["Properties"]["CodeUri"] = f"s3://code-bucket/{key}"
            if architecture:
                function["Properties"]["Architectures"] = [architecture]
    defaults = {name: it.get("Default") for name, it in template["Parameters"].items()}
    return transform(template, defaults | values, NoManagedPolicies())


if __name__ == "__main__":
    out, *given = sys.argv[1:]
    values = dict(it.split("=", 1) for it in given)
    options = {name.lower(): values.pop(name) for name in ("CODE", "ARCHITECTURE") if name in values}
    json.dump(expand(**options, **values), open(out, "w"), indent=1)
