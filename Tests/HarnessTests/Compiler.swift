import Foundation
import Testing
import TestSupport

/// Compiles the backends of `Tests/BadBackends`.
enum Compiler {
  /// The first C compiler on PATH; nil when there is none.
  static let path = find(["cc", "gcc", "clang"])

  /// The Swift toolchain's clang, which can instrument; nil when there is none.
  static let clang = find(["clang"])

  /// The Swift compiler; nil when it is not on PATH.
  static let swift = find(["swiftc"])

  /// The first program on PATH of these names; nil when there is none.
  static func find(_ names: [String]) -> String? {
    let folders = (ProcessInfo.processInfo.environment["PATH"] ?? "").split(separator: ":")
    return names.lazy.flatMap { name in folders.map { "\($0)/\(name)" } }
      .first { access($0, X_OK) == 0 }
  }

  static let sources = Fixtures.folder.deletingLastPathComponent()
    .appending(path: "BadBackends").path
  static let header = Fixtures.folder.deletingLastPathComponent()
    .deletingLastPathComponent().appending(path: "Sources/PluginAPI/include").path

  /// Compiles `name`.c as `folder/libmultifd-NAME.so`; `include` is where the ABI's header is taken
  /// from.
  static func compile(
    _ name: String, as output: String? = nil, in folder: String, include: String = header,
    compiler: String? = path, flags: [String] = []
  ) throws -> String {
    let output = output ?? name
    let file = "\(folder)/libmultifd-\(output).so"
    let text = try String(contentsOfFile: "\(sources)/\(name).c", encoding: .utf8)
    let own = text.firstMatch(of: /\/\* flags: (.*?) \*\//)?.1.split(separator: " ") ?? []
    try CompiledOnce.make(
      [
        try #require(compiler), "-shared", "-fPIC", "-O1", "-w", "-fvisibility=hidden",
        "-DBACKEND_NAME=\"\(output)\"", "-I\(include)", "-I\(sources)",
      ] + own.map(String.init) + flags + ["\(sources)/\(name).c"], at: file)
    return file
  }
}

extension Trait where Self == ConditionTrait {
  /// Skips, and says so, where C cannot be compiled.
  static var needsCompiler: Self {
    if Compiler.path == nil {
      SkipReason("no C compiler (cc, gcc, clang) on PATH").announce("the harness's self-test")
    }
    return .enabled(if: Compiler.path != nil, "no C compiler on PATH")
  }

  /// The same for Swift.
  static var needsSwift: Self {
    if Compiler.swift == nil {
      SkipReason("no swiftc on PATH").announce("a host of a later minor version")
    }
    return .enabled(if: Compiler.swift != nil, "no swiftc on PATH")
  }
}

/// One file of `Tests/BadBackends`.
struct Specimen: Sendable, CustomTestStringConvertible {
  let name: String
  /// The tests that must fail, and the only ones that may, but for those of ``allowed``.
  let expected: Set<String>
  /// Tests that may fail, too: what is wrong with it shows there in some runs, as its threads go.
  let allowed: Set<String>
  /// Only a full run finds it.
  let needsFullRun: Bool
  /// Another one that is to be found beside it: of a backend of one direction, who has the other.
  let beside: String?
  /// What `make test` tries it with besides what must fail; `make judge` tries all.
  var tried: [String] {
    named ?? [
      "load", "abi", "lifecycle", "roundtrip/basic", "roundtrip/reference", "hostile/truncated",
    ]
      + Set(expected.map { String($0.prefix { $0 != "/" }) }).sorted()
  }
  private let named: [String]?

  var testDescription: String { name }

  /// All of them, good ones too, by name.
  static let all: [Specimen] = {
    let names = (try? FileManager.default.contentsOfDirectory(atPath: Compiler.sources)) ?? []
    return names.filter { $0.hasSuffix(".c") }.sorted().compactMap { file in
      let path = Compiler.sources + "/" + file
      guard let text = try? String(contentsOfFile: path, encoding: .utf8),
        let match = text.firstMatch(of: /^\/\* expect( full)?: (.*?) \*\//)
      else { return nil }
      let words = match.2.split(separator: " ").map(String.init)
      return Specimen(
        name: String(file.dropLast(2)), expected: words == ["nothing"] ? [] : Set(words),
        allowed: Set(
          text.firstMatch(of: /\/\* may: (.*?) \*\//)?.1.split(separator: " ").map(String.init)
            ?? []),
        needsFullRun: match.1 != nil,
        beside: text.firstMatch(of: /\/\* beside: (.*?) \*\//).map { String($0.1) },
        named: text.firstMatch(of: /\/\* try: (.*?) \*\//).map {
          $0.1.split(separator: " ").map(String.init)
        })
    }
  }()

  static let good = all.filter(\.expected.isEmpty)
  static let bad = all.filter { !$0.expected.isEmpty }
}
