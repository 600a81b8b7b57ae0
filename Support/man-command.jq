# A page of section 1, from what a command says of itself: its --experimental-dump-help is the input. The page is $page's:
# the program's own, or one of its commands with all that are in that one. $usages[0] has each command's line of usage.

# Text: no request, whatever it begins with. What is to be typed stands in single quotes, and is bold.
def text:
  gsub("\\\\"; "\\e") | gsub("-"; "\\-") | gsub("(?<a>^|[ (])'(?<b>[^']+)'"; "\(.a)\\fB\(.b)\\fR")
  | gsub("(?<a>^|\n)(?<b>[.'])"; "\(.a)\\&\(.b)");
def bold: "\\fB\(text)\\fR";
def lower: .[:1] as $first | if .[1:2] | test("[A-Z]") then . else ($first | ascii_downcase) + .[1:] end;
def capital: (.[:1] | ascii_upcase) + .[1:];
# Roman's < and > are the help's way of saying that a word is the reader's.
def usage: text | gsub("<(?<a>[^>]+)>"; "\\fI\(.a)\\fR");
def paragraphs: split("\n\n")[] | ".PP\n\(text)";

# What is said of exit codes has a section of its own.
def prose: (.discussion // "") | split("Exit codes: ")[0] // "" | select(. != "") | sub("\\s+$"; "") | paragraphs;
def codes: (.discussion // "") | split("Exit codes: ")[1] // empty | sub("\\.\\s*$"; "") | split("; ")[]
  | capture("^(?<code>\\S+) (?<means>.*)$"; "s") | ".TP\n\(.code | bold)\n\(.means | capital | text).";

def name: (if .kind == "short" then "-" else "--" end) + .name | bold;
# Of --verify and --no-verify the second has the first one's text.
def group: reduce .[] as $a ([]; if length > 0 and (.[-1][0] | .kind == "flag" and .abstract == $a.abstract
  and .discussion == $a.discussion and .sectionTitle == $a.sectionTitle) then .[-1] += [$a] else . + [[$a]] end);
def term: if .kind == "positional" then "\\fI\(.valueName | text)\\fR"
  else (.names | sort_by(.kind != "short") | map(name) | join(", ")) + (if .kind == "option" then " \\fI\(.valueName | text)\\fR" else "" end) end;
def entry: .[0] as $a | ".TP\n" + (map(term) | join(", ")) + "\n" + ($a.abstract // "" | text)
  + (if $a.allValues and ($a.allValues | all(. as $v | $a.abstract | contains($v)) | not) then
      " One of \($a.allValues | map(bold) | join(", "))." else "" end)
  + (if $a.defaultValue and $a.kind != "flag" then " By default \($a.defaultValue | bold)." else "" end)
  + ($a.discussion // "" | if . == "" then . else "\n.IP\n\(text)" end);
def shown: (.arguments // [])[] | select(.shouldDisplay);
# Those without a heading of their own first. A command's inner ones have --help and --version, too.
def entries($titled): [shown | select($titled or .kind != "flag" or (.valueName != "help" and .valueName != "version"))] | (map(.sectionTitle) | unique)[] as $title
  | (if $title and $titled then ".SS \($title | text | capital)" else empty end), (map(select(.sectionTitle == $title)) | group[] | entry);

def commands: (.subcommands // [])[] | select(.shouldDisplay and .commandName != "help");
def path: ((.superCommands // []) + [.commandName]) | join(" ");
def all: ., (commands | all);
def synopsis: all | select([commands] == []) | path as $path | $usages[0][$path] // $path | "\($path | bold)\(ltrimstr($path) | usage)";
def inner: commands | ".SS \(path | text)\n\(.abstract | text)", prose, entries(false), inner;

.command as $program
| [$program | commands | path | gsub(" "; "-")] as $pages
| if $page == $program.commandName then $program
  else $program | commands | select((path | gsub(" "; "-")) == $page) end
| ([all | shown | .names // [] | .[].name] | unique) as $known
| ".TH \($page | ascii_upcase | text) 1 \($date) \"\($source)\" multifd\n.nh\n.ad l",
  ".SH NAME\n\($page | text) \\- \(.abstract | rtrimstr(".") | lower | text)",
  ".SH SYNOPSIS\n\([synopsis] | join("\n.br\n"))",
  ".SH DESCRIPTION\n\(.abstract | text)", prose,
  if . == $program then
    (if $pages != [] then ".SH COMMANDS" else empty end),
    (commands | ".TP\n\(path | gsub(" "; "-") | bold)(1)\n\(.abstract | text)"),
    ".SH OPTIONS", entries(true)
  else
    ".SH OPTIONS", entries(true), ([inner] | if . != [] then ".SH COMMANDS", .[] else empty end)
  end,
  ".SH EXIT STATUS",
  ([codes] | if . != [] then .[] else "As \($program.commandName | bold)(1) says." end),
  (if $known | index("plugin-dir") then
    ".SH ENVIRONMENT\n.TP\n\("MULTIFD_PLUGIN_PATH" | bold)\nFolders to look for backends in, with colons between them, behind those of "
    + "\("--plugin-dir" | bold). Not for a privileged process." else empty end),
  ".SH SEE ALSO",
  ([(if . == $program then $pages[] else $program.commandName end | "\(bold)(1)"), "\("multifd-plugins" | bold)(7)",
    (if ($known | index("print-config")) or $page == "multifd" then "\("multifd.toml" | bold)(5)" else empty end),
    (if $known | index("no-config") then "\("harness.toml" | bold)(5)", "\("multifd_plugin" | bold)(3)" else empty end)]
    | join(",\n"))
