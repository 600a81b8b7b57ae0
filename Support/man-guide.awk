# Markdown as a man page wants it, still Markdown: what Support/man gives to lowdown. It is the page `name`, is about `what`,
# and `see` is what is said to be read, too.
#
# A table that is wider than a terminal becomes a list of its rows, each with the first cell as its term; links within
# the repository are their text; top headings are in capitals, and the first one is NAME and DESCRIPTION.

BEGIN { WIDTH = 70 }

/^ *```/ {
  # A drawing has lines that are nothing else.
  if (fenced) {
    if (drawn) drawing = fit_drawing(drawing)
    for (i = 1; i <= drawing; i++) print block[i]
  }
  drawing = drawn = 0
  fenced = !fenced
  print
  next
}
fenced { block[++drawing] = $0; if ($0 ~ /^ *\| *$/) drawn = 1; next }
/^<!--/ { next }
/^# / && !titled { titled = 1; print "# NAME\n\n" name " - " what "\n\n# DESCRIPTION"; next }
/^# / { print toupper($0); next }
/^ *\|.*\|$/ { rows[++count] = unlinked($0); next }
count { table() }
{ print unlinked($0) }
END {
  if (count) table()
  print "\n# SEE ALSO\n\n" see
}

# [TEXT](TARGET) is TEXT, unless TARGET is somewhere else in the world.
function unlinked(line,  out, link, text, target) {
  while (match(line, /\[[^][]*\]\([^()]*\)/)) {
    link = substr(line, RSTART, RLENGTH)
    text = link; sub(/^\[/, "", text); sub(/\]\(.*/, "", text)
    target = link; sub(/^.*\]\(/, "", target); sub(/\)$/, "", target)
    out = out substr(line, 1, RSTART - 1) (target ~ /:\/\// ? link : text)
    line = substr(line, RSTART + RLENGTH)
  }
  return out line
}

# The cells of a row into cell[], without what a reader does not see. Returns how many.
function cells(row,  parts, i, n) {
  sub(/^ *\|/, "", row); sub(/\|$/, "", row)
  gsub(/\\\|/, "\001", row)
  n = split(row, parts, "|")
  for (i = 1; i <= n; i++) {
    cell[i] = parts[i]
    gsub(/^ +| +$/, "", cell[i]); gsub("\001", "\\|", cell[i])
  }
  return n
}

function seen(text) { gsub(/[`*\\]/, "", text); return length(text) }

function table(  i, k, n, indent, wide, widest, head, separator, entry) {
  indent = rows[1]; sub(/\|.*/, "", indent)
  for (i = 1; i <= count; i++) {
    if (i == 2) continue
    n = cells(rows[i])
    for (k = 1; k <= n; k++) if (seen(cell[k]) > widest[k]) widest[k] = seen(cell[k])
  }
  wide = length(indent)
  for (k = 1; k <= n; k++) wide += widest[k] + 3
  if (wide <= WIDTH) {
    for (i = 1; i <= count; i++) print rows[i]
  } else {
    n = cells(rows[1])
    for (k = 1; k <= n; k++) head[k] = cell[k]
    separator = n > 4 ? "; " : "  \n" indent "  "
    for (i = 3; i <= count; i++) {
      n = cells(rows[i])
      entry = ""
      for (k = 2; k <= n; k++) {
        if (cell[k] == "") continue
        entry = entry (entry == "" ? "" : separator) (n == 2 || head[k] == "" ? "" : "*" head[k] "*: ") cell[k]
      }
      # A row without a first cell goes on with the one before.
      if (cell[1] == "") print indent "\n" indent "  " entry
      else print (i > 3 ? "\n" : "") indent (cell[1] ~ /`/ ? cell[1] : "**" cell[1] "**") "\n" indent ": " entry
    }
    print ""
  }
  count = 0
}
