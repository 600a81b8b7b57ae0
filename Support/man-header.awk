# multifd_plugin.h as a man page: its comments are the text, its declarations the terms.
#
# A comment belongs to what is declared right below it, or on whose line it ends; one that has another comment below it,
# or says who sets the members that follow, is a paragraph. Indented lines of a comment are as they are.

BEGIN {
  printf ".TH multifd_plugin 3 %s \"%s\" multifd\n", date, source
  print ".SH NAME\nmultifd_plugin, multifd_plugin.h \\- the interface between a multifd host and a compression backend"
  print ".SH SYNOPSIS\n.nf\n\\fB#include <multifd_plugin.h>\\fR\n"
  print "\\fBconst MultiFDMethods *multifd_plugin_entry(uint32_t \\fIhost_major\\fB);\\fR\n.fi"
  print ".SH DESCRIPTION"
}

# ---- Comments that stand alone

/^ *\/\*/ {
  comments()
  text = $0
  while (text !~ /\*\//) { getline line; text = text "\n" line }
  gsub(/^ *\/\* ?|\n?[ *]*\*\/$/, "", text)
  gsub(/\n +\* ?/, "\n", text)
  if (text ~ /^-+\n/) { banner(text); next }
  if (NR < 100 && text ~ /^multifd_plugin.h/) { sub(/^[^\n]*\n\n/, "", text); prose(text, 1); next }
  pending = text
  next
}

# ---- What is not for readers: guards, and what compilers want

/^#(if|ifndef)/ { depth++; conditional = !/MULTIFD_PLUGIN_H$/ ? depth : conditional; next }
/^#(else|error|pragma|undef)/ || /^extern "C"/ { next }
/^#endif/ { if (conditional == depth) conditional = 0; depth--; next }
conditional || /^#include/ || /^#define MULTIFD_PLUGIN_H$/ { next }

# ---- Declarations

/^#define/ {
  while (sub(/\\$/, "")) { getline line; $0 = $0 line }
  behind = ""
  if (match($0, /\/\*.*\*\//)) {
    behind = substr($0, RSTART + 3, RLENGTH - 6)
    $0 = substr($0, 1, RSTART - 1)
  }
  gsub(/  +/, " ")
  sub(/^#define /, "")
  sub(/ $/, "")
  term($0, behind)
  next
}

/^typedef struct [A-Za-z]+ [A-Za-z]+;$/ { section($3); paragraphs(); sub(/;$/, ""); code($0 ";"); next }
/^typedef struct/ { section($3); paragraphs(); inside = 1; next }
/^}/ && inside { comments(); terms(); inside = 0; next }
/^$/ { terms(); blank = 1; next }

/./ {
  declaration = $0
  behind = ""
  while (declaration !~ /;/) { getline line; sub(/^ +/, " ", line); declaration = declaration line }
  if (match(declaration, /\/\*.*\*\//)) behind = substr(declaration, RSTART + 3, RLENGTH - 6)
  sub(/;.*/, "", declaration)
  gsub(/MULTIFD_(NULLABLE|NONNULL|PLUGIN_EXPORT) ?/, "", declaration)
  sub(/^ +/, "", declaration)
  if (declaration ~ /multifd_plugin_entry/) { section("multifd_plugin_entry()"); paragraphs(); code(declaration ";"); next }
  term(declaration, behind)
}

END {
  comments()
  terms()
  print ".SH SEE ALSO\n.BR multifd\\-plugins (7)"
}

# ---- The page

function quoted(text) {
  gsub(/\\/, "\\e", text)
  gsub(/-/, "\\-", text)
  while (match(text, /`[^`]*`/))
    text = substr(text, 1, RSTART - 1) "\\fB" substr(text, RSTART + 1, RLENGTH - 2) "\\fR" substr(text, RSTART + RLENGTH)
  return text
}

# A line of text: no request, whatever it begins with.
function put(text) { text = quoted(text); print (text ~ /^[.']/ ? "\\&" : "") text }

function section(name) { comments_kept = pending; pending = ""; terms(); pending = comments_kept; print ".SS " quoted(name) }

function banner(text,  title) {
  terms()
  title = text
  gsub(/^-+\n|\n?-*$/, "", title)
  # What follows is for compilers.
  if (title ~ /^Layout, pinned/) exit
  if (title ~ /:/) {
    pending = capital(substr(title, index(title, ":") + 2)) "."
    sub(/:.*/, "", title)
  }
  print ".SH " toupper(title)
  paragraphs()
}

# A comment that is not above anything.
function comments() { if (pending != "") { terms(); paragraphs() } }
function paragraphs() {
  if (pending == "") return
  print ".PP"
  prose(pending)
  pending = ""
}

# A name, and the comment on its line. Names below one comment share it.
function term(name, behind) {
  if (pending != "" && (behind != "" || pending ~ /^Set (by|before)/)) { terms(); paragraphs() }
  if (pending != "") terms()
  if (behind != "") { terms(); pending = behind }
  if (pending == "" && names > 0 && said != "" && !blank && !inside) { names++; printf ".TQ\n\\fB%s\\fR\n", quoted(name); return }
  if (pending == "" && inside || pending == "") terms()
  printf ".TP\n\\fB%s\\fR\n", quoted(name)
  names = 1
  said = pending
  pending = ""
  blank = 0
  if (inside || behind != "") terms()
}

# The comment of the names that have been printed.
function terms() {
  if (names > 0) {
    if (said != "") prose(said); else print "\\&"
  }
  names = 0
  said = ""
}

function code(text) { print ".PP\n.nf\n\\fB" quoted(text) "\\fR\n.fi" }

function capital(text) { return toupper(substr(text, 1, 1)) substr(text, 2) }

# What is laid out by hand.
function laid_out(n,  i, name, made) {
  if (!is_table(n)) {
    made = fit_drawing(n)
    print ".PP\n.nf"
    for (i = 1; i <= made; i++) put(block[i])
    print ".fi"
    return
  }
  for (i = 1; i <= n; i++) {
    name = ""
    if (match(block[i], /[^ ]   *[^ ]/) && block[i] !~ /^          /) {
      name = substr(block[i], 1, RSTART)
      block[i] = substr(block[i], RSTART + RLENGTH - 1)
      sub(/^ +/, "", name)
      print ".TP\n\\fB" quoted(name) "\\fR"
    }
    sub(/^ +/, "", block[i])
    put(block[i])
  }
}

# Text with paragraphs and what is laid out by hand; of the first comment lines begin with headings in capitals.
function prose(text, headed,  lines, n, i, line, count, heading, begun) {
  n = split(text, lines, "\n")
  for (i = 1; i <= n; i++) {
    line = lines[i]
    if (line ~ /^  /) {
      for (count = 0; i <= n && (lines[i] ~ /^  / || lines[i] == "" && lines[i + 1] ~ /^  /); i++) block[++count] = lines[i]
      laid_out(count)
      i--
      begun = 0
      continue
    }
    if (line == "") { begun = 0; continue }
    if (headed && match(line, /^[A-Z][A-Z ]+[A-Z]([.,:]| \(|$)/)) {
      heading = substr(line, 1, RLENGTH)
      line = substr(line, RLENGTH + 1)
      if (sub(/ \($/, "", heading)) line = "(" line
      sub(/[.,:]$/, "", heading)
      sub(/^ +/, "", line)
      line = capital(line)
      print ".SS " heading
      begun = 1
      if (line == "") continue
    }
    if (!begun && headed) print ".PP"
    begun = 1
    put(line)
  }
}
