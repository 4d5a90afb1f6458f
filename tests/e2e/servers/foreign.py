"""Labelled texts that others made, from packages of PyPI, one JSON object a line: `corpus`, `text`, and `of`, what it is
labelled with (empty for a text without anything that is to be found).

Everything is drawn with fixed seeds, so the same pins give the same texts.
"""

import ast
import json
import random
import re
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import phonenumbers
import yaml
from faker import Faker


def folder(package):
    """Where a package lies. It is not imported: what it would import is not installed."""
    return Path(find_spec(package).submodule_search_locations[0])


def say(corpus, text, of):
    print(json.dumps({"corpus": corpus, "text": text, "of": of}, ensure_ascii=False))


def lines(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]


def bastion():
    """Prompt injections and harmless texts that look like them, in five languages."""
    for one in lines(folder("bastioncorpus") / "corpus/injections.jsonl"):
        say("bastioncorpus", one["text"], ["injection"] if one["label"] == "malicious" else [])


def bench():
    """Results of tools with injections in them, and the same without them."""
    for one in lines(folder("aib") / "data/attacks.jsonl"):
        say("agent-injection-bench", one["injected"], ["injection"])


def literal(node):
    """A text as it is written; what is put into it while the program runs is left open."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(literal(part) or "it" for part in node.values)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return (literal(node.left) or "") + (literal(node.right) or "")
    return None


def strings(path):
    """Texts that a module assigns to names, by the names."""
    found = {}
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, (ast.Assign, ast.AnnAssign)) and node.value is not None:
            target = node.targets[0] if isinstance(node, ast.Assign) else node.target
            text = literal(node.value)
            if text:
                found.setdefault(getattr(target, "id", None), []).append(text)
    return found


def texts(value):
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for one in value.values():
            yield from texts(one)
    elif isinstance(value, list):
        for one in value:
            yield from texts(one)


class Loader(yaml.SafeLoader):
    """Reads what the environments of AgentDojo are written in; includes are files of their own."""


Loader.add_multi_constructor("!", lambda loader, suffix, node: None)


def agentdojo():
    """Mails, files and pages of the environments without their injections, and the attack of the paper for each goal."""
    home = folder("agentdojo")
    harmless = set()
    for path in sorted((home / "data/suites").rglob("*.yaml")):
        read = yaml.load(path.read_text(encoding="utf-8"), Loader)
        if path.name == "injection_vectors.yaml":
            read = [one["default"] for one in read.values()]
        harmless.update(re.sub(r"\{[a-z0-9_]+\}", "", text) for text in texts(read) if len(text) >= 40)
    for text in sorted(harmless):
        say("agentdojo", text, [])
    attacks = strings(home / "attacks/important_instructions_attacks.py")
    attack = next(text for texts in attacks.values() for text in texts if "<INFORMATION>" in text)
    attack = attack.replace("{user}", "Emma Johnson").replace("{model}", "AI assistant")
    for path in sorted((home / "default_suites/v1").rglob("injection_tasks.py")):
        for goal in strings(path).get("GOAL", []):
            say("agentdojo", attack.replace("{goal}", goal), ["injection"])


AMERICAN = Faker("en_US")

# What a placeholder of Presidio's templates is filled with, and which of our rules is to find it.
VALUES = {
    "credit_card_number": ("personal.card", lambda fake: fake.credit_card_number()),
    "iban": ("personal.iban", lambda fake: fake.iban()),
    "email": ("personal.email", lambda fake: fake.email()),
    "phone_number": ("personal.phone", lambda fake: fake.phone_number()),
    "ssn": ("personal.us_ssn", lambda fake: AMERICAN.ssn()),
}
OTHERS = {
    "person": "name", "name_male": "name_male", "name_female": "name_female", "organization": "company",
    "nationality": "country", "nation_woman": "country", "nation_plural": "country", "age": "random_digit_not_null",
    "zipcode": "postcode", "prefix": "prefix_male", "us_driver_license": "license_plate",
    "day_of_week": "day_of_week", "address": "address", "ip_address": "ipv4",
}
# Faker counts these from today, and nothing here is to depend on that.
DATES = {"date_time": "2024-03-05T14:30:00", "date_of_birth": "1971-11-23", "year": "1998"}
LOCALES = ["en_US", "en_GB", "de_DE", "fr_FR", "es_ES", "it_IT", "pt_BR"]
ROUNDS = 40


def presidio():
    """The templates that Presidio is evaluated with, filled by Faker in the manner of several countries."""
    path = folder("presidio_evaluator") / "data_generator/raw_data/templates.txt"
    templates = [line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    draw = random.Random(7)
    Faker.seed(7)
    fakes = [Faker(locale) for locale in LOCALES]

    def fill(template, fake):
        of = set()

        def value(match):
            name = match.group(1)
            if name in VALUES:
                rule, make = VALUES[name]
                of.add(rule)
                return str(make(fake))
            if name in DATES:
                return DATES[name]
            # A country whose people have nothing of the kind is as good as another.
            for source in (fake, AMERICAN):
                make = getattr(source, OTHERS.get(name, name), None)
                if make is not None:
                    return str(make())
            return "something"

        text = re.sub(r"\{\{([a-z_]+)\}\}", value, template)
        return text.replace("\\n", "\n"), sorted(of)

    for template in templates:
        rounds = ROUNDS if any("{{%s}}" % name in template for name in VALUES) else 5
        for _ in range(rounds):
            text, of = fill(template, draw.choice(fakes))
            say("presidio-evaluator", text, of)


def phones():
    """The examples of Google's phone library for each region and kind, as it writes them, and numbers that it takes for none."""
    kinds = ["fixed_line", "mobile", "toll_free", "premium_rate", "shared_cost", "voip", "uan"]
    formats = {
        "international": phonenumbers.PhoneNumberFormat.INTERNATIONAL,
        "E.164": phonenumbers.PhoneNumberFormat.E164,
        "national": phonenumbers.PhoneNumberFormat.NATIONAL,
    }
    seen = set()
    for region in sorted(phonenumbers.SUPPORTED_REGIONS):
        for kind in kinds:
            of_kind = getattr(phonenumbers.PhoneNumberType, kind.upper())
            number = phonenumbers.example_number_for_type(region, of_kind)
            if number is None or len(str(number.national_number)) < 7:
                continue
            for name, form in formats.items():
                text = phonenumbers.format_number(number, form)
                if (name, text) not in seen:
                    seen.add((name, text))
                    sentence = "Tel. {}, Mo-Fr" if name == "national" else "Ms Lee, {} (office)"
                    say(f"phonenumbers, {name}", sentence.format(text), ["personal.phone"])
    draw = random.Random(11)
    while len(seen) < 4000:
        text = "+" + "".join(draw.choice("0123456789") for _ in range(draw.randint(8, 14)))
        try:
            is_one = phonenumbers.is_possible_number(phonenumbers.parse(text))
        except phonenumbers.NumberParseException:
            is_one = False
        if not is_one and text not in seen:
            seen.add(text)
            for name in ("international", "E.164"):
                say(f"phonenumbers, {name}", f"offset {text} of the table", [])


for package in ["bastioncorpus", "agent-injection-bench", "agentdojo", "presidio-evaluator", "faker", "phonenumbers"]:
    print(json.dumps({"package": package, "version": version(package)}))
for corpus in (bastion, bench, agentdojo, presidio, phones):
    corpus()
