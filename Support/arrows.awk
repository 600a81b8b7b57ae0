# Reads what Support/arrows has gathered (lines that begin with target, arrow, file, rooms), then the
# files themselves; prints the arrows and says what is wrong with them. See Support/arrows.

BEGIN {
  FS = "\t"
  # What stands before a declaration on its line.
  attribute = "@[A-Za-z_.]+(\\([^)]*\\))?"
  access = "public|package|internal|fileprivate|private"
  kind = "struct|class|enum|actor|protocol|typealias"
  anImport = "^[ \t]*((" attribute "|" access ")[ \t]+)*import[ \t]+((" kind "|func|var|let)[ \t]+)?"
  modifier = "public|package|internal|open|final|indirect|nonisolated" # not private
  aType = "^[ \t]*((" attribute "|" modifier ")[ \t]+)*(" kind ")[ \t]+"
  # Modules that come with the toolchain: no arrow is drawn to them.
  split("Swift Foundation FoundationXML Glibc Dispatch Synchronization Testing", given, " ")
  for (i in given) toolchain[given[i]] = 1
}

$1 == "target" { order[++targets] = $2; folder[$2] = $3; target[module($2)] = $2 }
$1 == "arrow" { drawn[$2, $3] = 1; drawing[$2] = drawing[$2] " " $3 }
$1 == "file" { path[++files] = $3; owner[files] = $2 }
$1 == "program" { program[$2] = module($2) }
$1 == "rooms" { readRooms($2) }

END {
  if (!targets || !files) { complain("there is no package here"); exit 70 }
  for (i = 1; i <= targets; i++) used[order[i]] = ""
  for (i = 1; i <= files; i++) {
    if (path[i] ~ /\.swift$/) readSwift(i); else readC(i)
  }
  checkTargets()
  checkRooms()
  exit problems > 0
}

function complain(text) { print text | "cat >&2"; problems++ }

# A module's name is its target's, as a C identifier.
function module(name) { gsub(/[^A-Za-z0-9_]/, "_", name); return name }

# ---- Reading files

# What a line of Swift (or C) says when comments and the insides of literals are left out. What it
# leaves open is remembered: `comments` is how deep it is in /* */, `top` how deep in literals and
# the code that is interpolated into them.
function bare(line,   out, letter) {
  out = ""
  while (line != "") {
    if (comments > 0) {
      if (!match(line, /\/\*|\*\//)) break
      comments += substr(line, RSTART, 1) == "/" ? 1 : -1
      line = substr(line, RSTART + 2)
    } else if (isLiteral[top]) {
      if (!match(line, /["\\]/)) break
      line = substr(line, RSTART)
      if (index(line, "\\" hashes[top] "(") == 1) {
        line = substr(line, length(hashes[top]) + 3)
        isLiteral[++top] = 0
        parentheses[top] = 0
      } else if (index(line, "\\" hashes[top]) == 1) {
        line = substr(line, length(hashes[top]) + 3)
      } else if (index(line, quotes[top] hashes[top]) == 1) {
        line = substr(line, length(quotes[top] hashes[top]) + 1)
        top--
        out = out "\"\""
      } else {
        line = substr(line, 2)
      }
    } else {
      if (!match(line, /["\/#()]/)) { out = out line; break }
      out = out substr(line, 1, RSTART - 1)
      line = substr(line, RSTART)
      if (line ~ /^\/\//) break
      if (line ~ /^\/\*/) {
        comments = 1
        out = out " "
        line = substr(line, 3)
      } else if (match(line, /^#*"(""[^"]|""$)?/)) {
        isLiteral[++top] = 1
        hashes[top] = line
        sub(/".*/, "", hashes[top])
        line = substr(line, length(hashes[top]) + 1)
        quotes[top] = line ~ /^"""/ ? "\"\"\"" : "\""
        line = substr(line, length(quotes[top]) + 1)
      } else {
        letter = substr(line, 1, 1)
        line = substr(line, 2)
        if (top && letter == "(") parentheses[top]++
        if (top && letter == ")" && --parentheses[top] < 0) top--
        else out = out letter
      }
    }
  }
  while (top && isLiteral[top] && quotes[top] == "\"") top-- # ends with its line, closed or not
  return out
}

# Nothing is open at a file's end, else it was not understood.
function closed(name) {
  if (comments || top) complain(name ": ends within a comment or a literal, as it seems here")
  comments = top = 0
}

function readSwift(file,   name, line, number, code, room, depth, parts, count, i) {
  name = path[file]
  room = roomOf(name)
  comments = top = number = depth = 0
  while ((getline line < name) > 0) {
    number++
    # A program is not imported but run: by its name, in a literal.
    for (i in program)
      if ((owner[file], i) in drawn && index(line, i)) use(file, number, program[i])
    code = bare(line)
    if (code ~ /(^|[^A-Za-z0-9_.])import[ \t]/) {
      count = split(code, parts, ";")
      for (i = 1; i <= count; i++) readImport(file, number, parts[i])
    }
    if (room != "") {
      lines[++stored] = code
      lineOf[stored] = name ":" number
      roomAt[stored] = room
      if (depth == 0) readType(code, room, name ":" number)
      depth += gsub(/\{/, "{", code) - gsub(/\}/, "}", code)
    }
  }
  close(name)
  closed(name)
}

# `import X`, with attributes and access levels before it, a kind and members behind it.
function readImport(file, number, code) {
  if (!sub(anImport, "", code)) return
  match(code, /^[A-Za-z_][A-Za-z0-9_]*/)
  use(file, number, substr(code, 1, RLENGTH))
}

function use(file, number, name,   from) {
  from = owner[file]
  if (name in toolchain || module(from) == name) return
  if (name in target) name = target[name]
  if ((from, name) in where) return
  used[from] = used[from] " " name
  where[from, name] = path[file] ":" number
}

# The header of another target is an arrow to it, whether by its path or by its name.
function readC(file,   name, line, number, header, found) {
  name = path[file]
  comments = top = number = 0
  while ((getline line < name) > 0) {
    number++
    header = ""
    if (!comments && match(line, /^[ \t]*#[ \t]*include[ \t]*["<][^">]+/)) {
      header = substr(line, RSTART, RLENGTH)
      sub(/^[^"<]*["<]/, "", header)
    }
    gsub(/'\\?"'/, "' '", line)
    bare(line)
    if (header != "") {
      found = ownerOf(header, name)
      if (found != "" && found != owner[file]) use(file, number, module(found))
    }
  }
  close(name)
  closed(name)
}

# The target that a header belongs to: the file beside the one that includes it, else the one in an
# `include` folder; empty for the system's.
function ownerOf(header, from,   place, i, last) {
  place = from
  sub(/[^\/]*$/, "", place)
  place = place header
  while (sub(/[^\/.][^\/]*\/\.\.\//, "", place)) { }
  for (i = 1; i <= files; i++) if (path[i] == place) return owner[i]
  for (i = 1; i <= files; i++) {
    last = "/include/" header
    if (substr(path[i], length(path[i]) - length(last) + 1) == last) return owner[i]
  }
  return ""
}

# ---- Targets

function checkTargets(   i, j, count, names, from, to) {
  print "targets"
  for (i = 1; i <= targets; i++) {
    from = order[i]
    count = split(used[from], names, " ")
    printf "  %-18s", from
    for (j = 1; j <= count; j++) {
      to = names[j]
      printf "%s%s", (j == 1 ? " -> " : ", "), to
      if (!((from, to) in drawn))
        complain(where[from, to] ": " from " uses " to ", which Package.swift does not draw")
    }
    print ""
    count = split(drawing[from], names, " ")
    for (j = 1; j <= count; j++)
      if (!((from, names[j]) in where))
        complain("Package.swift: " from " draws an arrow to " names[j] ", which no file of it uses")
  }
  for (i = 1; i <= targets; i++) follow(order[i], "", drawing, "Package.swift")
}

# Goes where arrows lead from `name`, by way of `way`: whoever comes by again is on a circle. What has
# been left behind (`left`) is not gone through twice.
function follow(name, way, arrows, place,   names, count, i) {
  if (left[place, name]) return
  if (index(way " ", " " name " ")) {
    complain(place ": a circle:" substr(way, index(way " ", " " name " ")) " " name)
    left[place, name] = 1
    return
  }
  count = split(arrows[name], names, " ")
  for (i = 1; i <= count; i++) follow(names[i], way " " name, arrows, place)
  left[place, name] = 1
}

# ---- Rooms

function readRooms(text,   words, count, i, room) {
  count = split(text, words, /[ :]+/)
  if (words[count] == "") count--
  room = words[2]
  if (words[1] == "in") { house = words[2]; return }
  houses[house] = 1
  if (words[1] == "debt") {
    for (i = 3; i <= count; i++) debt[house, room, words[i]] = 1
  } else if (words[1] == "room") {
    hasRow[house, room] = 1
    for (i = 3; i <= count; i++) {
      may[house, room, words[i]] = 1
      row[house "/" room] = row[house "/" room] " " house "/" words[i]
    }
  } else {
    complain("Support/rooms: not understood: " text)
  }
}

# The room that a file is in, as HOUSE/FOLDER; empty where the table says nothing of its target.
function roomOf(name,   house, rest) {
  for (house in houses) {
    if (index(name, house "/") != 1) continue
    rest = substr(name, length(house) + 2)
    if (!sub(/\/.*/, "", rest)) rest = "."
    if (!((house, rest) in hasRow) && !seenRoom[house, rest])
      complain(name ": Support/rooms has no row for the folder " rest)
    seenRoom[house, rest] = 1
    houseOf[house "/" rest] = house
    return house "/" rest
  }
  return ""
}

# A type at a file's top level. What is private there is the file's own business.
function readType(code, room, place) {
  if (!sub(aType, "", code)) return
  match(code, /^[A-Za-z_][A-Za-z0-9_]*/)
  code = substr(code, 1, RLENGTH)
  if (code in home && home[code] != room)
    complain(place ": " code " is declared in " declared[code] " too, in another room")
  if (code in home) return
  declared[code] = place
  home[code] = room
}

function checkRooms(   i, name, key, words, known, list, count, j, names) {
  for (i = 1; i <= stored; i++) nameTypes(i)
  for (name in houses) {
    print "rooms of " name
    count = 0
    for (key in houseOf) if (houseOf[key] == name) list[++count] = key
    sortList(list, count)
    for (i = 1; i <= count; i++) {
      printf "  %-18s", substr(list[i], length(name) + 2)
      known = split(named[list[i]], names, " ")
      sortList(names, known)
      for (j = 1; j <= known; j++)
        printf "%s%s", (j == 1 ? " -> " : ", "), substr(names[j], length(name) + 2)
      print ""
    }
  }
  for (key in row) follow(key, "", row, "Support/rooms")
  for (key in debt) {
    split(key, words, SUBSEP)
    if (!owed[key])
      complain("Support/rooms: " words[2] " no longer names a type of " words[3] ": the debt goes")
  }
}

# The types of other rooms that a stored line names.
function nameTypes(at,   code, before, word, from, to, house) {
  code = lines[at]
  from = roomAt[at]
  house = houseOf[from]
  before = ""
  while (match(code, /[A-Za-z_][A-Za-z0-9_]*/)) {
    word = substr(code, RSTART, RLENGTH)
    # A member that is called the same is something else.
    before = RSTART > 1 ? substr(code, RSTART - 1, 1) : ""
    code = substr(code, RSTART + RLENGTH)
    if (before == "." || !(word in home)) continue
    to = home[word]
    if (to == from || houseOf[to] != house) continue
    if (!((from, to) in met)) { met[from, to] = 1; named[from] = named[from] " " to }
    judge(lineOf[at], word, house, substr(from, length(house) + 2), substr(to, length(house) + 2))
  }
}

function judge(place, word, house, from, to) {
  if (to == "." || (house, from, to) in may) return
  if ((house, from, to) in debt) { owed[house, from, to] = 1; return }
  complain(place ": " from " names " word " of " to ", a room that it may not know")
}

function sortList(list, count,   i, j, held) {
  for (i = 2; i <= count; i++) {
    held = list[i]
    for (j = i - 1; j > 0 && list[j] > held; j--) list[j + 1] = list[j]
    list[j + 1] = held
  }
}
