"""Puts parameters' values into an expanded template, and evaluates its conditions: what CloudFormation would make of it."""

import re

PSEUDO = {
    "AWS::Partition": "aws",
    "AWS::Region": "us-east-1",
    "AWS::URLSuffix": "amazonaws.com",
    "AWS::AccountId": "123456789012",
    "AWS::StackName": "stack",
    "AWS::StackId": "arn:aws:cloudformation:us-east-1:123456789012:stack/stack/51af3dc0-da77-11e4-872e-1234567abcdb",
    "AWS::NotificationARNs": [],
}
NO_VALUE = object()


class Deployed:
    """The expanded template with values for its parameters: what CloudFormation would make of it."""

    def __init__(self, template, **values):
        self.template = template
        self.values = {name: it.get("Default") for name, it in template["Parameters"].items()} | values | PSEUDO
        self.named = set()
        present = {
            name: it
            for name, it in template["Resources"].items()
            if "Condition" not in it or self.holds(it["Condition"])
        }
        # Attributes of a resource may depend on conditions, too.
        self.resources = {name: self.resolve(it) for name, it in present.items()}
        self.outputs = {
            name: self.resolve(it["Value"])
            for name, it in template["Outputs"].items()
            if "Condition" not in it or self.holds(it["Condition"])
        }
        missing = self.named - set(self.resources)
        assert not missing, f"{values}: named, but not there: {missing}"

    def of_type(self, kind):
        return {name: it["Properties"] for name, it in self.resources.items() if it["Type"] == kind}

    def holds(self, condition):
        if isinstance(condition, str):
            return self.holds(self.template["Conditions"][condition])
        [(function, operands)] = condition.items()
        if function == "Condition":
            return self.holds(operands)
        if function == "Fn::Equals":
            left, right = (str(self.resolve(it)) for it in operands)
            return left == right
        return {"Fn::And": all, "Fn::Or": any, "Fn::Not": lambda it: not all(it)}[function](
            [self.holds(it) for it in operands]
        )

    def resolve(self, value):
        """The value with its functions evaluated. What only a deployment knows stands in angle brackets."""
        if isinstance(value, list):
            return [it for it in map(self.resolve, value) if it is not NO_VALUE]
        if not isinstance(value, dict):
            return value
        if len(value) == 1:
            [(function, operand)] = value.items()
            if function == "Ref":
                return self.ref(operand)
            if function == "Fn::GetAtt":
                resource, attribute = operand.split(".", 1) if isinstance(operand, str) else operand
                self.named.add(resource)
                return f"<{resource}.{attribute}>"
            if function == "Fn::If":
                condition, then, otherwise = operand
                return self.resolve(then if self.holds(condition) else otherwise)
            if function == "Fn::Sub":
                return self.substitute(operand)
            if function == "Fn::FindInMap":
                name, top, second = map(self.resolve, operand)
                return self.template["Mappings"][name][top][second]
            if function == "Fn::Split":
                return self.resolve(operand[1]).split(operand[0])
            if function == "Fn::Select":
                return self.resolve(operand[1])[int(operand[0])]
            assert not function.startswith("Fn::"), function
        resolved = {name: self.resolve(it) for name, it in value.items()}
        return {name: it for name, it in resolved.items() if it is not NO_VALUE}

    def ref(self, name):
        if name == "AWS::NoValue":
            return NO_VALUE
        if name in self.values:
            return self.values[name]
        self.named.add(name)
        return f"<{name}>"

    def substitute(self, operand):
        text, variables = operand if isinstance(operand, list) else (operand, {})

        def value(match):
            name = match[1]
            if name in variables:
                return str(self.resolve(variables[name]))
            if "." in name:
                return self.resolve({"Fn::GetAtt": name})
            return str(self.ref(name))

        return re.sub(r"\$\{([A-Za-z0-9:.]+)\}", value, text)


class Readable(Deployed):
    """The same as a template for checkers, which follow references between resources and evaluate no conditions."""

    def __init__(self, template, **values):
        super().__init__(template, **values)
        for resource in self.resources.values():
            resource.pop("Condition", None)

    def resolve(self, value):
        if isinstance(value, dict) and len(value) == 1 and "Fn::GetAtt" in value:
            attribute = value["Fn::GetAtt"]
            return {"Fn::GetAtt": attribute.split(".", 1) if isinstance(attribute, str) else attribute}
        return super().resolve(value)

    def ref(self, name):
        return {"Ref": name} if name in self.template["Resources"] else super().ref(name)

    def substitute(self, operand):
        text, variables = operand if isinstance(operand, list) else (operand, {})
        variables = {name: self.resolve(it) for name, it in variables.items()}

        def value(match):
            known = self.values.get(match[1])
            return match[0] if known is None else str(known)

        text = re.sub(r"\$\{([A-Za-z0-9:.]+)\}", value, text)
        if "${" not in text:
            return text
        return {"Fn::Sub": [text, variables] if variables else text}

    def as_template(self):
        return {"AWSTemplateFormatVersion": "2010-09-09", "Resources": self.resources}
