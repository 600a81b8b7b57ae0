# What `swift package dump-package` prints, as lines of words with tabs between them:
#
#   target   NAME  FOLDER
#   arrow    NAME  TARGET-OR-PRODUCT
#   program  NAME                     an executable
#   without  NAME  PATH               excluded, or a resource: no source of the target
#
# The JSON is SwiftPM's own, printed with two spaces a level and its keys sorted: a target's keys are at
# the fourth level, and what is a list begins and ends with lines of its own.

/^  "targets" : \[/ { inside = 1; next }
/^  \]/ { inside = 0 }
!inside { next }

/^    \{/ { name = folder = kind = list = ""; arrows = withouts = 0; next }
/^    \}/ { if (name != "") put(); next }

/^      "dependencies" : \[$/ { list = "arrows"; next }
/^      "exclude" : \[$/ { list = "exclude"; next }
/^      "resources" : \[$/ { list = "resources"; next }
/^      \]/ { list = ""; next }
/^      "name" : / { name = text(); next }
/^      "path" : / { folder = text(); next }
/^      "type" : / { kind = text(); next }

# { "byName" : [ "X", null ] }, and with "target" or "product" in its place.
list == "arrows" && /^          "(byName|target|product)" : \[$/ { wanted = 1; next }
list == "arrows" && wanted { arrow[++arrows] = text(); wanted = 0; next }
list == "exclude" && /^        "/ { without[++withouts] = text(); next }
list == "resources" && /^          "path" : / { without[++withouts] = text(); next }

# The string that a line ends with.
function text(  value) {
  value = $0
  sub(/,$/, "", value)
  sub(/^ *("[a-zA-Z]+" : )?"/, "", value)
  sub(/"$/, "", value)
  gsub(/\\\//, "/", value)
  return value
}

function put(  i) {
  if (folder == "") folder = (kind == "test" ? "Tests/" : "Sources/") name
  print "target\t" name "\t" folder
  if (kind == "executable") print "program\t" name
  for (i = 1; i <= arrows; i++) print "arrow\t" name "\t" arrow[i]
  for (i = 1; i <= withouts; i++) print "without\t" name "\t" without[i]
  targets++
}

END { if (!targets) exit 1 }
