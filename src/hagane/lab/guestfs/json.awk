# Print the leaves of a JSON document as "path<TAB>value", the path's names joined by "/". Newlines become spaces.
BEGIN { RS = "\001" }
{ text = $0; at = 1; value("") }

function space() { while (substr(text, at, 1) ~ /[ \t\r\n]/) at++ }

function value(path,   c, start) {
  space(); c = substr(text, at, 1)
  if (c == "{") return object(path)
  if (c == "[") return array(path)
  if (c == "\"") { print path "\t" string(); return }
  start = at
  while (at <= length(text) && substr(text, at, 1) !~ /[],} \t\r\n]/) at++
  print path "\t" substr(text, start, at - start)
}

function object(path,   name) {
  at++
  for (;;) {
    space()
    if (at > length(text)) exit 1
    if (substr(text, at, 1) == "}") { at++; return }
    if (substr(text, at, 1) == ",") { at++; continue }
    name = string(); space(); at++
    value(path == "" ? name : path "/" name)
  }
}

function array(path,   i) {
  at++; i = 0
  for (;;) {
    space()
    if (at > length(text)) exit 1
    if (substr(text, at, 1) == "]") { at++; return }
    if (substr(text, at, 1) == ",") { at++; continue }
    value(path "/" i++)
  }
}

function string(   out, c, rest, n) {
  at++; out = ""
  while (at <= length(text)) {
    rest = substr(text, at)
    n = match(rest, /["\\]/)
    if (!n) exit 1
    out = out substr(rest, 1, n - 1); at += n
    if (substr(rest, n, 1) == "\"") break
    c = substr(text, at, 1); at++
    if (c == "n" || c == "t" || c == "r") out = out " "
    else if (c == "u") { out = out unicode(substr(text, at, 4)); at += 4 }
    else out = out c
  }
  gsub(/[\r\n\t]/, " ", out); sub(/ +$/, "", out)
  return out
}

function unicode(hex,   code, i) {
  code = 0; hex = tolower(hex)
  for (i = 1; i <= 4; i++) code = code * 16 + index("0123456789abcdef", substr(hex, i, 1)) - 1
  if (code < 128) return sprintf("%c", code)
  if (code < 2048) return sprintf("%c%c", 192 + int(code / 64), 128 + code % 64)
  return sprintf("%c%c%c", 224 + int(code / 4096), 128 + int(code / 64) % 64, 128 + code % 64)
}
