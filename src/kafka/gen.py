#!/usr/bin/env python3
"""Makes C of Kafka's tables: gen.py SOURCE_FOLDER OUTPUT_FOLDER.

messages.txt, peer-messages.txt and coordinator-records.txt (grammar: the comment that opens messages.txt) become one struct a message and descriptor
tables for the interpreter in codec_*.c; errors.txt becomes an enum and its names; configs.txt becomes a table of checks.
A line that it does not understand stops the build with file and line.
"""
import os
import re
import sys

ALL = 32767
SCALARS = {
    "bool": ("bool", "BOOL"), "int8": ("int8_t", "INT8"), "int16": ("int16_t", "INT16"), "uint16": ("uint16_t", "UINT16"),
    "int32": ("int32_t", "INT32"), "int64": ("int64_t", "INT64"), "float64": ("double", "FLOAT64"),
    "uuid": ("struct floe_uuid", "UUID"), "string": ("struct floe_kstr", "STRING"), "bytes": ("struct floe_kbytes", "BYTES"),
    "records": ("struct floe_krecords", "RECORDS"),
}
NUMBERS = {"bool", "int8", "int16", "uint16", "int32", "int64"}
MESSAGE = re.compile(r"(?:api (\d+) )?([A-Za-z0-9]+) (request|response|data|header) versions (\d+)(?:-(\d+))? "
                     r"flexible (none|(\d+)\+)( newest unstable)?$")


class Bad(Exception):
    pass


def versions(text):
    m = re.fullmatch(r"(\d+)(\+|-(\d+))?", text)
    if not m:
        raise Bad(f"versions '{text}'")
    lo = int(m.group(1))
    return lo, ALL if m.group(2) == "+" else int(m.group(3)) if m.group(3) else lo


class Struct:
    def __init__(self, name, c_name):
        self.name, self.c_name, self.fields = name, c_name, []


class Field:
    def __init__(self, line):
        spec, _, attributes = line.partition("|")
        words = spec.split()
        if len(words) != 3:
            raise Bad("want 'Name type versions'")
        self.name, self.type, self.present = words[0], words[1], versions(words[2])
        self.array = self.type.startswith("[]")
        self.type = self.type[2:] if self.array else self.type
        self.struct, self.tag, self.default = None, -1, None
        self.nullable = self.tagged = (1, 0)
        self.ignorable = self.never_compact = False
        for a in filter(None, (x.strip() for x in attributes.split(","))):
            self.attribute(a)

    def attribute(self, a):
        word = a.split()[0]
        if a in ("key", "bytes kept"):
            return
        if a == "ignorable":
            self.ignorable = True
        elif a == "never compact":
            self.never_compact = True
        elif word == "null":
            self.nullable = versions(a.split()[1])
        elif word == "tag":
            self.tag, self.tagged = int(a.split()[1]), versions(a.split()[2])
        elif word == "=":
            self.default = a[1:].strip()
        else:
            raise Bad(f"attribute '{a}'")

    def default_int(self):
        d = self.default
        if d is None or self.type not in NUMBERS or self.array:
            if d not in (None, "null"):
                raise Bad(f"{self.name}: default '{d}' of a {self.type}")
            return 0
        return {"true": 1, "false": 0}.get(d.lower(), None) if self.type == "bool" else int(d, 0)

    def default_null(self):
        return self.default == "null" or (self.type == "records" and not self.array and self.default is None)

    def pointer(self):
        return self.struct is not None and not self.array and self.nullable[0] <= self.nullable[1]


class Message:
    def __init__(self, line):
        m = MESSAGE.fullmatch(line)
        if not m:
            raise Bad("message line")
        self.key = int(m.group(1)) if m.group(1) else -1
        self.name, self.kind = m.group(2), m.group(3)
        self.min = int(m.group(4))
        self.max = int(m.group(5)) if m.group(5) else self.min
        self.flexible = int(m.group(7)) if m.group(7) else ALL
        self.unstable = bool(m.group(8))
        self.body = Struct(self.name, f"floe_kafka_{self.name}")
        self.structs = {}  # by name, in the order of their definition

    def define(self, name):
        if name in self.structs:
            raise Bad(f"struct {name} defined twice in {self.name}")
        s = self.structs[name] = Struct(name, f"floe_kafka_{self.name}_{name}")
        return s

    def resolve(self):
        """Looks up struct types and orders the structs so that each stands after those it holds."""
        order, state = [], {}

        def visit(s):
            if state.get(s.name) == 1:
                raise Bad(f"{self.name}: struct {s.name} contains itself")
            if s.name in state:
                return
            state[s.name] = 1
            for f in s.fields:
                if f.type in SCALARS:
                    continue
                if f.type not in self.structs:
                    raise Bad(f"{self.name}.{f.name}: no struct {f.type}")
                f.struct = self.structs[f.type]
                visit(f.struct)
                if f.pointer() and f.default != "null":
                    raise Bad(f"{self.name}.{f.name}: a nullable struct whose default is not null")
            state[s.name] = 2
            order.append(s)

        for s in list(self.structs.values()):
            visit(s)
        visit(self.body)
        self.order = order


def parse_messages(path):
    messages, stack, message = [], [], None
    with open(path, encoding="utf-8") as f:
        for number, raw in enumerate(f, 1):
            line = raw.rstrip()
            if not line or line.startswith("#"):
                continue
            try:
                indent = len(line) - len(line.lstrip())
                line = line.strip()
                if indent == 0:
                    message = Message(line)
                    messages.append(message)
                    stack = [(0, message.body)]  # (indent of the owner, owner)
                elif line.startswith("struct "):
                    stack = [(0, message.body), (indent, message.define(line.split()[1]))]
                else:
                    field = Field(line)
                    while stack[-1][0] >= indent:
                        stack.pop()
                    owner = stack[-1][1]
                    if isinstance(owner, Field):  # its first sub-field: the struct is defined in place
                        s = message.define(owner.type)
                        stack[-1] = (stack[-1][0], s)
                        owner = s
                    owner.fields.append(field)
                    stack.append((indent, field))
            except (Bad, ValueError, IndexError) as e:
                sys.exit(f"{path}:{number}: {e}")
    for m in messages:
        try:
            m.resolve()
        except Bad as e:
            sys.exit(f"{path}: {e}")
    return messages


def c_field(f):
    base = f"struct {f.struct.c_name}" if f.struct else SCALARS[f.type][0]
    if f.array:
        return f"    {base} *{f.name};\n    int32_t {f.name}_n;\n"
    return f"    {base} {'*' if f.pointer() else ''}{f.name};\n"


def c_range(r):
    return f"{{{r[0]}, {r[1]}}}"


def c_descriptor(s, name, static):
    out = []
    if s.fields:
        out.append(f"static const struct floe_kafka_field {s.c_name}_fields[] = {{\n")
        for f in s.fields:
            flags = [n for n, on in (("ARRAY", f.array), ("IGNORABLE", f.ignorable), ("POINTER", f.pointer()),
                                     ("DEFAULT_NULL", f.default_null()), ("NEVER_COMPACT", f.never_compact)) if on]
            default = f.default_int()
            out.append(
                f'    {{.name = "{f.name}", .type_struct = {"&" + f.struct.c_name + "_desc" if f.struct else "NULL"},'
                f" .def = {default if default != -2**63 else 'INT64_MIN'},"
                f" .offset = offsetof(struct {s.c_name}, {f.name}),"
                f" .count_offset = {f'offsetof(struct {s.c_name}, {f.name}_n)' if f.array else 0},"
                f" .type = FLOE_KT_{SCALARS[f.type][1] if not f.struct else 'STRUCT'},"
                f" .flags = {' | '.join('FLOE_KF_' + n for n in flags) or 0}, .tag = {f.tag},"
                f" .present = {c_range(f.present)}, .nullable = {c_range(f.nullable)}, .tagged = {c_range(f.tagged)}}},\n")
        out.append("};\n")
    out.append(f'{static}const struct floe_kafka_struct {name} = {{"{s.name}", '
               f"{s.c_name + '_fields' if s.fields else 'NULL'}, {len(s.fields)}, sizeof(struct {s.c_name})}};\n")
    return "".join(out)


def write_messages(messages, out):
    with open(f"{out}/kafka_messages.h", "w", encoding="utf-8") as h:
        h.write("/* Generated by src/kafka/gen.py; included by <floe/kafka/codec.h>. */\n#ifndef FLOE_GEN_KAFKA_MESSAGES_H\n"
                "#define FLOE_GEN_KAFKA_MESSAGES_H\n\n")
        for m in messages:
            for s in m.order:
                fields = "".join(map(c_field, s.fields)) or "    char none_;\n"
                h.write(f"struct {s.c_name} {{\n{fields}}};\n")
                if s is not m.body:
                    h.write(f"extern const struct floe_kafka_struct {s.c_name}_desc;\n")
            h.write(f"extern const struct floe_kafka_msg {m.body.c_name}_desc;\n\n")
        h.write("#endif\n")
    with open(f"{out}/kafka_messages.c", "w", encoding="utf-8") as c:
        c.write('/* Generated by src/kafka/gen.py. */\n#include "kafka/desc.h"\n\n')
        for m in messages:
            for s in m.order:
                body = s is m.body
                c.write(c_descriptor(s, s.c_name + ("_body" if body else "_desc"), "static " if body else ""))
            c.write(f'const struct floe_kafka_msg {m.body.c_name}_desc = {{"{m.name}", {m.key}, {m.min}, {m.max}, {m.flexible}, '
                    f"&{m.body.c_name}_body}};\n\n")
        c.write("const struct floe_kafka_msg *const floe_kafka_messages[] = {\n")
        c.write("".join(f"    &{m.body.c_name}_desc,\n" for m in messages))
        c.write(f"}};\nconst uint32_t floe_kafka_message_count = {len(messages)};\n\n")
        write_apis(messages, c)


def write_apis(messages, c):
    apis = {}
    for m in messages:
        if m.kind in ("request", "response"):
            if m.kind in apis.setdefault(m.key, {}):
                sys.exit(f"api {m.key}: two messages of kind {m.kind}")
            apis[m.key][m.kind] = m
    c.write("const struct floe_kafka_api floe_kafka_apis[] = {\n")
    for key in sorted(apis):
        if len(apis[key]) != 2:
            sys.exit(f"api {key}: request or response is missing")
        q, r = apis[key]["request"], apis[key]["response"]
        if (q.min, q.max, q.flexible) != (r.min, r.max, r.flexible) or not q.name.endswith("Request"):
            sys.exit(f"api {key}: request and response differ in their versions")
        c.write(f'    {{{key}, "{q.name[:-7]}", {q.min}, {q.max}, {q.max - (1 if q.unstable else 0)}, {q.flexible}, '
                f"{'true' if key >= 20000 else 'false'}, &{q.body.c_name}_desc, &{r.body.c_name}_desc}},\n")
    c.write(f"}};\nconst uint32_t floe_kafka_api_count = {len(apis)};\n")


def write_errors(path, out):
    rows = []
    with open(path, encoding="utf-8") as f:
        for number, line in enumerate(f, 1):
            words = line.split()
            if not words or line.startswith("#"):
                continue
            if len(words) < 2 or not re.fullmatch(r"-?\d+", words[0]) or set(words[2:]) - {"retriable", "refresh-metadata"}:
                sys.exit(f"{path}:{number}: want 'CODE NAME [retriable] [refresh-metadata]'")
            rows.append((int(words[0]), words[1], "retriable" in words[2:]))
    with open(f"{out}/kafka_errors.h", "w", encoding="utf-8") as h:
        h.write("/* Generated by src/kafka/gen.py of errors.txt. */\n#ifndef FLOE_GEN_KAFKA_ERRORS_H\n"
                "#define FLOE_GEN_KAFKA_ERRORS_H\n\nenum floe_kafka_error {\n")
        h.write("".join(f"    FLOE_KERR_{name} = {code},\n" for code, name, _ in rows))
        h.write("};\n\n#endif\n")
    with open(f"{out}/kafka_errors.c", "w", encoding="utf-8") as c:
        c.write('/* Generated by src/kafka/gen.py of errors.txt. */\n#include "kafka/tables.h"\n\n'
                "const struct floe_kafka_error_row floe_kafka_error_rows[] = {\n")
        for code, name, retriable in sorted(rows):
            text = name.replace("_", " ").lower().removesuffix(" exception")
            c.write(f'    {{{code}, {"true" if retriable else "false"}, "{name}", "{text}"}},\n')
        c.write(f"}};\nconst uint32_t floe_kafka_error_count = {len(rows)};\n")


def config_check(kind, allowed):
    """The column `allowed` as (check, low, high, words)."""
    if not allowed:
        return "ANY", "INT64_MIN", "INT64_MAX", []
    if kind in ("INT", "LONG", "SHORT", "DOUBLE"):
        m = re.fullmatch(r"\[(-?\d+),\.\.\.(?:,(-?\d+))?\](?: or (-?\d+))?", allowed)
        if not m:
            raise Bad(f"range '{allowed}'")
        return "RANGE", m.group(1), m.group(2) or "INT64_MAX", [m.group(3)] if m.group(3) else []
    simple = {"non-empty string": "NON_EMPTY", "non-empty list": "NON_EMPTY", "non-null string": "ANY"}
    if allowed in simple:
        return simple[allowed], "0", "0", []
    if allowed.startswith("[partitionId]:"):
        return "THROTTLED", "0", "0", []
    check, text = "WORDS", allowed
    if text.startswith("(case insensitive) "):
        check, text = "WORDS_ANY_CASE", text.removeprefix("(case insensitive) ")
    if not re.fullmatch(r"\[[^\[\]]+\]", text):
        raise Bad(f"allowed '{allowed}'")
    return check, "0", "0", [w.strip() for w in text[1:-1].split(",")]


def write_configs(path, out):
    rows = []
    with open(path, encoding="utf-8") as f:
        for number, line in enumerate(f, 1):
            if line.startswith("#") or not line.strip():
                continue
            try:
                columns = [x.strip() for x in line.rstrip("\n").split("|")]
                dynamic = columns[-1] == "dynamic"
                head, kind, default, allowed = columns[:-1] if dynamic else columns
                scope, name = head.split()
                if scope not in ("topic", "broker", "group"):
                    raise Bad(f"kind '{scope}'")
                rows.append((scope, name, kind, default, allowed, config_check(kind, allowed), dynamic))
            except (Bad, ValueError) as e:
                sys.exit(f"{path}:{number}: {e}")
    with open(f"{out}/kafka_configs.c", "w", encoding="utf-8") as c:
        c.write('/* Generated by src/kafka/gen.py of configs.txt. */\n#include "kafka/tables.h"\n\n'
                "const struct floe_kafka_config_row floe_kafka_config_rows[] = {\n")
        for scope, name, kind, default, allowed, (check, low, high, words), dynamic in sorted(rows):
            default = "NULL" if default == "null" else '""' if default == "(none)" else f'"{default}"'
            words = "(const char *const[]){" + "".join(f'"{w}", ' for w in words) + "NULL}"
            c.write(f'    {{{{FLOE_CONFIG_{scope.upper()}, "{name}", FLOE_CONFIG_{kind}, {default}, "{allowed}", {str(dynamic).lower()}}}, '
                    f"FLOE_CHECK_{check}, {low}, {high}, {words}}},\n")
        c.write(f"}};\nconst uint32_t floe_kafka_config_count = {len(rows)};\n")


def main():
    source, out = sys.argv[1:]
    os.makedirs(out, exist_ok=True)
    messages = [m for f in ("messages.txt", "peer-messages.txt", "coordinator-records.txt") for m in parse_messages(f"{source}/{f}")]
    write_messages(messages, out)
    write_errors(f"{source}/errors.txt", out)
    write_configs(f"{source}/configs.txt", out)


if __name__ == "__main__":
    main()
