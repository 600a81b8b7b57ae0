/// What a child is told, as arguments `key=value`.
struct ChildOrder: Sendable {
  var test: String
  var path: String
  var seed: UInt64
  var isQuick: Bool
  /// A run that takes its time: level 8 and above.
  var isLong: Bool
  var fuzzTime: Double
  /// As they were given: what is there twice shows.
  var assignments: [(key: String, value: String)] = []
  var pluginFolders: [String] = []
  var golden: String?
  var records: Bool
  var replay: String?
  var decode: Decoding.Request?
  var trace: String?
  var corpus: String?
  var pageFile: String?
  var executable: String

  init(_ test: String, _ settings: HarnessSettings) {
    self.test = test
    path = settings.path
    seed = settings.seed
    isQuick = settings.isQuick
    isLong = settings.level.isLong
    fuzzTime = settings.fuzzTime
    assignments = settings.assignments
    pluginFolders = settings.pluginFolders
    golden = settings.golden
    records = settings.records
    replay = settings.replay
    decode = settings.decode
    trace = settings.trace
    corpus = settings.corpusFolder
    pageFile = settings.pageFile
    executable = settings.executable
  }

  /// Becomes the order for a test, `group/name`, or `group/name#2` for the third of several
  /// processes that fuzz: each has random numbers of its own.
  mutating func take(_ name: String) {
    let parts = name.split(separator: "#")
    test = parts.first.map(String.init) ?? ""
    if parts.count > 1, let worker = UInt64(parts[1]) { seed &+= worker &* 1_000_003 }
  }

  /// Values by name.
  var options: [String: String] {
    get { Dictionary(assignments.map { ($0.key, $0.value) }) { $1 } }
    set { assignments = newValue.sorted { $0.key < $1.key }.map { (key: $0.key, value: $0.value) } }
  }

  /// Everything behind the program's name and the flag.
  var arguments: [String] {
    var words = [
      "test=\(test)", "path=\(path)", "seed=\(seed)", "fuzz=\(fuzzTime)",
      "executable=\(executable)",
    ]
    if isQuick { words.append("quick=1") }
    if isLong { words.append("long=1") }
    if records { words.append("record=1") }
    if let golden { words.append("golden=\(golden)") }
    if let replay { words.append("replay=\(replay)") }
    if let decode { words += ["decode=\(decode.path)", "pages=\(decode.pages)"] }
    if let pageFile { words.append("page-file=\(pageFile)") }
    if let corpus { words.append("corpus=\(corpus)") }
    if let trace { words.append("trace=\(trace)") }
    words += pluginFolders.map { "folder=\($0)" }
    words += assignments.map { "option=\($0.key)=\($0.value)" }
    return words
  }

  init?(_ arguments: some Collection<String>) {
    var values: [String: String] = [:]
    for argument in arguments {
      guard let (key, value) = Self.split(argument) else { return nil }
      switch key {
      case "folder": pluginFolders.append(value)
      case "option":
        guard let (name, setting) = Self.split(value) else { return nil }
        assignments.append((name, setting))
      default: values[key] = value
      }
    }
    guard let test = values["test"], let path = values["path"],
      let seed = values["seed"].flatMap({ UInt64($0) }),
      let fuzzTime = values["fuzz"].flatMap({ Double($0) })
    else { return nil }
    self.test = test
    self.path = path
    self.seed = seed
    self.fuzzTime = fuzzTime
    isQuick = values["quick"] != nil
    isLong = values["long"] != nil
    records = values["record"] != nil
    golden = values["golden"]
    replay = values["replay"]
    trace = values["trace"]
    corpus = values["corpus"]
    pageFile = values["page-file"]
    decode = values["decode"].map {
      Decoding.Request(path: $0, pages: values["pages"].flatMap { Int($0) } ?? 1)
    }
    executable = values["executable"] ?? "/proc/self/exe"
  }

  private static func split(_ text: String) -> (String, String)? {
    guard let equals = text.firstIndex(of: "=") else { return nil }
    return (String(text[..<equals]), String(text[text.index(after: equals)...]))
  }
}
