import Foundation

/// The `multifd` executable as a child process: the one that was built beside the running test or
/// lab.
public final class MultiFDProcess: Sendable {
  /// How it ended and what it said.
  public struct Result: Sendable, CustomStringConvertible {
    /// Its exit code; 128 + n after signal n.
    public let code: Int32
    /// Everything on stdout.
    public let output: String
    /// Everything on stderr.
    public let errors: String
    /// stdout as one JSON value; null when it is none.
    public let json: JSON
    /// Nobody has stderr open any more.
    public let hasAllErrors: Bool

    /// The one line `multifd: error: WHAT: WHY`, when there is one.
    public var errorLine: String? {
      errors.split(whereSeparator: \.isNewline).map(String.init)
        .first { $0.hasPrefix("multifd: error: ") }
    }

    /// For a message: the code and both texts, shortened.
    public var description: String {
      "exit \(code), stdout: \(output.suffix(300)), stderr: \(errors.suffix(600))"
    }
  }

  /// The executable's path.
  public static let path = Lab.executableFolder + "/multifd"

  /// Why it cannot be run; nil when it can.
  public static var unavailable: SkipReason? {
    FileManager.default.isExecutableFile(atPath: path)
      ? nil : SkipReason("there is no \(path): build everything, not one product")
  }

  /// The process.
  public let process: ChildProcess

  /// Starts `multifd` with `arguments`; `wrapper` is a command that ends by executing the rest of
  /// its own command line, so that the process becomes `multifd`. It gets `passing` as descriptors
  /// 3, 4 and so on.
  public init(
    _ arguments: [String], environment: [String: String] = [:], wrapper: [String] = [],
    passing: [Int32]? = nil
  ) throws {
    if let reason = Self.unavailable { throw LabError(reason.description) }
    process = try ChildProcess(
      wrapper + [Self.path] + arguments, environment: environment, passing: passing)
  }

  deinit { process.kill() }

  /// Waits until it says where it listens, and gives that URI.
  public func waitListening(_ timeout: Duration = .seconds(20)) throws -> String {
    try waitTold("multifd: listening on ", timeout)
  }

  /// Waits until it says where it serves disks, and gives that URI.
  public func waitServing(_ timeout: Duration = .seconds(20)) throws -> String {
    try waitTold("multifd: disks on ", timeout)
  }

  private func waitTold(_ prefix: String, _ timeout: Duration) throws -> String {
    let uri = process.errors.wait(timeout) { line in
      line.text.hasPrefix(prefix) ? String(line.text.dropFirst(prefix.count)) : nil
    }
    guard let uri else {
      throw LabError("multifd does not listen: \(process.errors.text.suffix(600))")
    }
    return uri
  }

  /// Waits for its end. Throws at the time-out, and then ends it.
  public func wait(_ timeout: Duration = .seconds(120)) throws -> Result {
    guard let exit = process.wait(timeout) else {
      process.kill()
      _ = process.wait(.seconds(5))
      throw LabError(
        "multifd \(process.arguments.dropFirst().joined(separator: " ")) did not end within "
          + "\(timeout): \(process.errors.text.suffix(600))")
    }
    let output = process.output.text
    let json = (try? JSON(parsing: output.utf8)) ?? .null
    let code: Int32 =
      switch exit {
      case .code(let code): code
      case .signal(let signal): 128 + signal
      }
    return Result(
      code: code, output: output, errors: process.errors.text, json: json,
      hasAllErrors: process.errors.waitForEnd(.zero))
  }

  /// Runs it to its end.
  public static func run(
    _ arguments: [String], environment: [String: String] = [:], _ timeout: Duration = .seconds(120)
  ) throws -> Result {
    try MultiFDProcess(arguments, environment: environment).wait(timeout)
  }
}
