import Foundation

/// Runs of programs, the command's among them.
protocol RunsCommand {}

extension RunsCommand {
  func run(
    _ arguments: [String], in folder: String? = nil
  ) throws -> (code: Int32, output: String, errors: String) {
    try start(Run.executable, arguments, in: folder)
  }

  func start(
    _ program: String, _ arguments: [String], in folder: String? = nil
  ) throws -> (code: Int32, output: String, errors: String) {
    let process = Process()
    process.executableURL = URL(filePath: program)
    process.arguments = arguments
    if let folder { process.currentDirectoryURL = URL(filePath: folder) }
    let output = Pipe(), errors = Pipe()
    process.standardOutput = output
    process.standardError = errors
    try process.run()
    // What is written on stderr is a few lines at most: it fits into the pipe meanwhile.
    let text = output.fileHandleForReading.readDataToEndOfFile()
    let complaints = errors.fileHandleForReading.readDataToEndOfFile()
    process.waitUntilExit()
    return (
      process.terminationStatus, String(decoding: text, as: UTF8.self),
      String(decoding: complaints, as: UTF8.self)
    )
  }
}

/// Counts elements; knows just enough XML to see that tags and quotes match.
final class ElementCounter {
  var counts: [String: Int] = [:]

  func parse(_ text: String) -> Bool {
    var open: [String] = []
    var rest = text[...]
    while let start = rest.firstIndex(of: "<") {
      guard let end = rest[start...].firstIndex(of: ">") else { return false }
      let tag = rest[rest.index(after: start)..<end]
      rest = rest[rest.index(after: end)...]
      if tag.hasPrefix("?") { continue }
      guard tag.count(where: { $0 == "\"" }) % 2 == 0, !tag.contains("<") else { return false }
      let name = String(tag.drop { $0 == "/" }.prefix { $0.isLetter })
      if tag.hasPrefix("/") {
        guard open.popLast() == name else { return false }
      } else {
        counts[name, default: 0] += 1
        if !tag.hasSuffix("/") { open.append(name) }
      }
    }
    return open.isEmpty
  }
}
