# What is laid out by hand, fitted to a terminal: for man-guide.awk and man-header.awk.

# A drawing: block[1...n] without its margin, and what is written at its right closer, over several lines where there is
# room below. Returns how many lines it has then.
function fit_drawing(n,  i, margin, left, right, beside, width, next_word, text, made) {
  margin = 1000
  for (i = 1; i <= n; i++) {
    match(block[i], /^ */)
    if (block[i] != "" && RLENGTH < margin) margin = RLENGTH
  }
  beside = 0
  for (i = 1; i <= n; i++) {
    left[i] = substr(block[i], margin + 1)
    right[i] = ""
    if (match(left[i], /   +[a-z][a-z][a-z][a-z, ]*$/)) {
      right[i] = substr(left[i], RSTART)
      sub(/^ +/, "", right[i])
      left[i] = substr(left[i], 1, RSTART - 1)
      if (length(left[i]) > beside) beside = length(left[i])
    }
  }
  width = 70 - beside - 2
  text = ""
  made = 0
  for (i = 1; i <= n || text != ""; i++) {
    if (i <= n && right[i] != "") text = text (text == "" ? "" : " ") right[i]
    next_word = text
    if (length(text) > width) {
      next_word = substr(text, 1, width + 1)
      sub(/ [^ ]*$/, "", next_word)
    }
    text = substr(text, length(next_word) + 2)
    block[++made] = next_word == "" ? left[i] : sprintf("%-" (beside + 2) "s%s", (i <= n ? left[i] : ""), next_word)
  }
  return made
}

# Whether block[1...n] is a table: names at one margin, and what is said of each further right.
function is_table(n,  i, margin) {
  match(block[1], /^ */)
  margin = RLENGTH
  for (i = 1; i <= n; i++) {
    match(block[i], /^ */)
    if (RLENGTH == margin ? block[i] !~ /[^ ]   *[^ ]/ : RLENGTH < margin + 8 || block[i] ~ /\|/) return 0
  }
  return 1
}
