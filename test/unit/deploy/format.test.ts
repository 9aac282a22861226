// Tables, templates and lists as people know them from Docker.

import assert from "node:assert/strict";
import { test } from "node:test";
import { formatList } from "../../../deploy/cli/format/list.ts";
import { pretty } from "../../../deploy/cli/format/pretty.ts";
import { table } from "../../../deploy/cli/format/table.ts";
import { compileTemplate } from "../../../deploy/cli/format/template.ts";

const value = {
  ID: "abc",
  Spec: { Name: "web", Labels: { zone: "a", tier: "front" }, Replicas: 3, Env: ["A=1", "B=2"] },
  Empty: "",
};

function render(template: string): string {
  return compileTemplate(template)(value);
}

test("a template prints fields, nested and bare", () => {
  assert.equal(render("{{.ID}}: {{ .Spec.Name }} {{.Spec.Replicas}}"), "abc: web 3");
});

test("json prints a value as JSON, called or piped", () => {
  assert.equal(render("{{json .Spec.Env}}"), '["A=1","B=2"]');
  assert.equal(render("{{.Spec.Env | json}}"), '["A=1","B=2"]');
});

test("lists and maps print in Go's notation", () => {
  assert.equal(render("{{.Spec.Env}} {{.Spec.Labels}}"), "[A=1 B=2] map[tier:front zone:a]");
});

test("range, if, else and index work", () => {
  assert.equal(render("{{range .Spec.Env}}<{{.}}>{{end}}"), "<A=1><B=2>");
  assert.equal(render("{{if .Empty}}full{{else}}empty{{end}}"), "empty");
  assert.equal(render('{{index .Spec.Labels "zone"}}'), "a");
  assert.equal(render('{{join .Spec.Env ","}}|{{upper .ID}}|{{len .Spec.Env}}'), "A=1,B=2|ABC|2");
  assert.equal(render('{{if eq .Spec.Name "web"}}yes{{end}}'), "yes");
});

test("backslash t and n mean tab and newline, as shells pass them on", () => {
  assert.equal(render("{{.ID}}\\t{{.Spec.Name}}\\n"), "abc\tweb\n");
});

test("what cannot be understood is refused by name", () => {
  assert.throws(() => render("{{.ID"), { code: "InvalidArgument", message: /not closed/ });
  assert.throws(() => render("{{nosuch .ID}}"), { message: /function "nosuch" is not defined/ });
  assert.throws(() => render("{{if .ID}}x"), { message: /\{\{end\}\} is missing/ });
  assert.throws(() => render("{{.id}}"), { message: /did you mean \.ID/ });
});

test("columns are as wide as their longest cell and at least ten", () => {
  assert.equal(
    table([
      ["ID", "NAME"],
      ["a-long-identifier", "web"],
    ]),
    "ID                  NAME\na-long-identifier   web\n",
  );
});

const rows = [
  { ID: "1", Name: "web" },
  { ID: "2", Name: "db" },
];
const list = {
  rows,
  columns: [
    ["ID", "ID"],
    ["NAME", "Name"],
  ] as const,
  id: "ID",
};

test("a list prints as a table, ids, JSON lines or by template", () => {
  assert.equal(formatList(list, {}), "ID        NAME\n1         web\n2         db\n");
  assert.equal(formatList(list, { quiet: true }), "1\n2\n");
  assert.equal(formatList(list, { format: "json" }), '{"ID":"1","Name":"web"}\n{"ID":"2","Name":"db"}\n');
  assert.equal(formatList(list, { format: "{{.Name}}" }), "web\ndb\n");
  assert.equal(formatList(list, { format: "table {{.Name}}\\t{{.ID}}" }), "NAME      ID\nweb       1\ndb        2\n");
});

test("pretty leaves out what is empty", () => {
  const text = pretty([
    ["ID", "x"],
    ["Gone", ""],
    [
      "Group",
      [
        ["Inner", "1"],
        ["Nothing", ""],
      ],
    ],
    ["Lines", ["a"]],
  ]);
  assert.equal(text, "ID:                  x\nGroup:\n Inner:              1\nLines:\n - a\n");
});
