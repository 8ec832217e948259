# Turn the small part of cloud-config that this guest knows into a shell script: hostname, password,
# ssh_authorized_keys, write_files (path, content, permissions, append) and, last, runcmd (strings and flow lists).
function quote(s) { gsub(/'/, "'\\''", s); return "'" s "'" }
function scalar(s) {
  sub(/^[ \t]+/, "", s); sub(/[ \t]+$/, "", s)
  if (s ~ /^".*"$/) { s = substr(s, 2, length(s) - 2); gsub(/\\"/, "\"", s); gsub(/\\n/, "\n", s); return s }
  if (s ~ /^'.*'$/) { s = substr(s, 2, length(s) - 2); gsub(/''/, "'", s) }
  return s
}
function flow(s,   i, c, mark, item, out) {
  sub(/^\[/, "", s); sub(/\][ \t]*$/, "", s)
  for (i = 1; i <= length(s) + 1; i++) {
    c = substr(s, i, 1)
    if (mark == "" && (c == "," || c == "")) { out = out " " quote(scalar(item)); item = ""; continue }
    if (c == mark) mark = ""
    else if (mark == "" && (c == "\"" || c == "'")) mark = c
    item = item c
  }
  return out
}
function indent(s) { match(s, /^ */); return RLENGTH }
function put(   op) {
  if (path == "") return
  op = append ~ /true|yes/ ? ">>" : ">"
  print "mkdir -p \"$(dirname " quote(path) ")\""
  print "printf '%s' " quote(content) " " op " " quote(path)
  if (mode != "") print "chmod " mode " " quote(path)
  path = content = mode = append = ""
}
function field(s,   name) {
  name = s; sub(/:.*/, "", name); sub(/^[ -]*/, "", name)
  sub(/^[^:]*:[ \t]*/, "", s)
  if (name == "path") path = scalar(s)
  else if (name == "permissions") mode = scalar(s)
  else if (name == "append") append = scalar(s)
  else if (name == "content") {
    if (s ~ /^[|>]/) { block = 1; depth = -1; folded = s ~ /-/ } else content = scalar(s)
  }
}
block {
  if ($0 ~ /^[ \t]*$/) { content = content "\n"; next }
  if (depth < 0) depth = indent($0)
  if (indent($0) >= depth) { content = content substr($0, depth + 1) "\n"; next }
  block = 0
  if (folded) sub(/\n+$/, "", content)
}
/^[ \t]*(#|$)/ { next }
/^[a-z_]+:/ {
  put(); section = $0; sub(/:.*/, "", section)
  rest = $0; sub(/^[a-z_]+:[ \t]*/, "", rest)
  if (section == "hostname" && rest != "") print "set_hostname " quote(scalar(rest))
  if (section == "password" && rest != "") print "set_password " quote(scalar(rest))
  next
}
section == "ssh_authorized_keys" && /^ *- / { sub(/^ *- */, ""); print "echo " quote(scalar($0)) " | add_keys"; next }
section == "runcmd" && /^ *- *\[/ { sub(/^ *- */, ""); commands = commands "(" flow($0) " )\n"; next }
section == "runcmd" && /^ *- / { sub(/^ *- */, ""); commands = commands "sh -c " quote(scalar($0)) "\n"; next }
section == "write_files" && /^ *- / { put(); field($0); next }
section == "write_files" { field($0); next }
END { if (block && folded) sub(/\n+$/, "", content); put(); printf "%s", commands }
