# Turn the leaves of network_data.json (see json.awk) into lines for guestfs/static: one for each address and each route
# that is given in full, as the network has no DHCP.  MAC address ADDRESS/LENGTH | MAC route BLOCK/LENGTH GATEWAY
BEGIN { FS = "\t" }
{ at[$1] = $2 }
split($1, part, "/") && part[1] == "networks" && part[3] == "type" && ($2 == "ipv4" || $2 == "ipv6") { full[part[2]] = 1 }
part[1] == "links" && part[3] == "id" { link[$2] = part[2] }

function bits(mask,   part, i, n, found) {
  if (mask ~ /\./) { n = split(mask, part, "."); for (i = 1; i <= n; i++) found += ones(part[i] + 0); return found }
  n = split(mask, part, ":")
  for (i = 1; i <= n; i++) if (part[i] != "") found += hex(part[i])
  return found + 0
}
function ones(number,   found) { while (number > 0) { found += number % 2; number = int(number / 2) } return found + 0 }
function hex(text,   i, found) {
  for (i = 1; i <= length(text); i++) found += ones(index("0123456789abcdef", tolower(substr(text, i, 1))) - 1)
  return found
}
function with(address, mask) { return mask == "" ? address : address "/" bits(mask) }

END {
  for (n = 0; ("networks/" n "/id") in at; n++) {
    if (!(n in full)) continue
    one = "networks/" n "/"
    mac = at["links/" link[at[one "link"]] "/ethernet_mac_address"]
    print mac, "address", with(at[one "ip_address"], at[one "netmask"])
    for (i = 0; (one "routes/" i "/gateway") in at; i++) {
      route = one "routes/" i "/"
      print mac, "route", with(at[route "network"], at[route "netmask"]), at[route "gateway"]
    }
  }
}
