// Renders /openapi.json (OpenAPI 3.1) without anything from outside.

const METHODS = ["get", "post", "put", "patch", "delete"];
let components = {};

function make(tag, className, text) {
  const node = document.createElement(tag);
  if (className) node.className = className;
  if (text !== undefined) node.textContent = text;
  return node;
}

const resolve = (schema) => (schema?.$ref ? components[schema.$ref.split("/").pop()] ?? {} : schema ?? {});

function typeName(schema) {
  if (schema?.$ref) {
    const target = resolve(schema);
    return target.enum ? target.enum.join(" | ") : schema.$ref.split("/").pop();
  }
  if (schema?.anyOf) return schema.anyOf.map(typeName).join(" or ");
  if (schema?.enum) return schema.enum.join(" | ");
  if (schema?.type === "array") return `list of ${typeName(schema.items)}`;
  return schema?.type ?? "any";
}

function limits(schema) {
  const words = {
    minimum: "≥ ", maximum: "≤ ", exclusiveMinimum: "> ", exclusiveMaximum: "< ",
    minLength: "length ≥ ", maxLength: "length ≤ ", pattern: "matches ",
  };
  const flat = { ...schema, ...(schema?.anyOf?.find((option) => option.type !== "null") ?? {}) };
  const parts = Object.entries(words).filter(([key]) => flat[key] !== undefined).map(([key, word]) => word + flat[key]);
  if (schema?.default !== undefined && schema.default !== null) parts.push(`default ${JSON.stringify(schema.default)}`);
  return parts.join(", ");
}

function table(rows) {
  const node = make("table");
  for (const [name, type, text] of rows) {
    const row = node.insertRow();
    row.append(make("td", "path", name), make("td", "", type), make("td", "", text));
  }
  return node;
}

function schemaTable(schema) {
  const target = resolve(schema);
  const required = new Set(target.required ?? []);
  return table(Object.entries(target.properties ?? {}).map(([name, field]) => [
    name + (required.has(name) ? " *" : ""), typeName(field), [field.description, limits(field)].filter(Boolean).join("; "),
  ]));
}

function operation(path, method, spec) {
  const details = make("details");
  const summary = make("summary");
  summary.append(
    make("span", `method ${method}`, method.toUpperCase()), make("span", "path", path),
    make("span", "what", (spec.description ?? spec.summary ?? "").split("\n")[0]),
  );
  const body = make("div");
  const section = (title, node) => body.append(make("h4", "", title), node);
  if (spec.parameters?.length) {
    section("Parameters", table(spec.parameters.map((parameter) => [
      parameter.name + (parameter.required ? " *" : ""), `${typeName(parameter.schema)}, in ${parameter.in}`,
      [parameter.description ?? parameter.schema?.description, limits(parameter.schema)].filter(Boolean).join("; "),
    ])));
  }
  const request = spec.requestBody?.content?.["application/json"]?.schema;
  if (request) section(`Body: ${typeName(request)}`, schemaTable(request));
  const codes = make("table");
  for (const [code, reply] of Object.entries(spec.responses ?? {})) {
    const [media, content] = Object.entries(reply.content ?? {})[0] ?? ["", {}];
    const row = codes.insertRow();
    row.append(make("td", "path", code), make("td", "", reply.description),
      make("td", "", [media, content.schema?.$ref ? typeName(content.schema) : ""].filter(Boolean).join(" · ")));
  }
  section("Replies", codes);
  const success = Object.entries(spec.responses ?? {}).find(([code]) => code.startsWith("2"))?.[1];
  const result = success?.content?.["application/json"]?.schema;
  if (result?.$ref) section(`Reply: ${typeName(result)}`, schemaTable(result));
  const data = request ? ` -H 'Content-Type: application/json' -d '${JSON.stringify(example(request))}'` : "";
  const verb = method === "get" ? "" : ` -X ${method.toUpperCase()}`;
  section("Try it", make("pre", "", `curl${verb} ${location.origin}${path}${data}`));
  details.append(summary, body);
  return details;
}

function example(schema) {
  const target = resolve(schema);
  const known = { name: "Camera 1", url: "rtsp://192.0.2.10:554/stream1", username: "admin", password: "pass" };
  const names = Object.keys(target.properties ?? {});
  const wanted = target.required?.length ? names.filter((name) => name in known) : names.slice(0, 1);
  return Object.fromEntries(wanted.map((name) => [name, known[name] ?? ""]));
}

try {
  const spec = await (await fetch("/openapi.json")).json();
  components = spec.components?.schemas ?? {};
  document.getElementById("title").textContent = `${spec.info.title} ${spec.info.version}`;
  const groups = new Map();
  for (const [path, item] of Object.entries(spec.paths)) {
    for (const method of METHODS.filter((name) => name in item)) {
      const tag = item[method].tags?.[0] ?? "service";
      groups.set(tag, [...(groups.get(tag) ?? []), operation(path, method, item[method])]);
    }
  }
  for (const [tag, operations] of groups) document.getElementById("operations").append(make("h3", "", tag), ...operations);
} catch (error) {
  const notice = document.getElementById("notice");
  notice.hidden = false;
  notice.textContent = `The description of the API cannot be loaded: ${error.message}`;
}
