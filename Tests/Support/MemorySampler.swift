import Foundation

/// Watches what a standby uses beyond the guest's RAM: the blocks of its cache files, and its
/// anonymous memory.
public final class MemorySampler: Sendable {
  /// The most that was seen, in bytes.
  public struct Peak: Sendable {
    /// Allocated blocks of the files in the store's cache folder.
    public var cache = 0
    /// RssAnon of the process and of its worker.
    public var anonymous = 0
    /// Both at one moment.
    public var total = 0

    /// Nothing.
    public init() {}
  }

  private struct State {
    var peak = Peak()
    var stopped = false
    var ended = false
  }

  private let state = Monitor(State())

  /// Samples the store at `store` and a process with its children, a hundred times a second, until
  /// `stop`.
  public init(store: String, process: ChildProcess) {
    let state = state
    Thread.detachNewThread {
      while !state.read({ $0.stopped }) {
        let cache = Self.blocks(store + "/cache")
        let anonymous = ([process.pid] + process.children).reduce(0) { $0 + Self.anonymous($1) }
        state.update { state in
          state.peak.cache = max(state.peak.cache, cache)
          state.peak.anonymous = max(state.peak.anonymous, anonymous)
          state.peak.total = max(state.peak.total, cache + anonymous)
        }
        Thread.sleep(forTimeInterval: 0.01)
      }
      state.update { $0.ended = true }
    }
  }

  deinit { state.update { $0.stopped = true } }

  /// Ends the sampling; gives the peak.
  public func stop() -> Peak {
    state.update { $0.stopped = true }
    _ = state.wait(.seconds(5)) { $0.ended ? true : nil }
    return state.read { $0.peak }
  }

  /// Bytes that the files of a folder occupy, with those in folders below.
  public static func blocks(_ folder: String) -> Int {
    let names = (try? FileManager.default.subpathsOfDirectory(atPath: folder)) ?? []
    return names.reduce(0) { sum, name in
      var status = stat()
      return lstat(folder + "/" + name, &status) == 0 ? sum + Int(status.st_blocks) * 512 : sum
    }
  }

  private static func anonymous(_ pid: pid_t) -> Int { bytes("RssAnon", in: "/proc/\(pid)/status") }

  /// What a file of /proc says in kB behind a name, in bytes; 0 where it says nothing.
  public static func bytes(_ name: String, in file: String) -> Int {
    let text = (try? String(contentsOfFile: file, encoding: .utf8)) ?? ""
    for line in text.split(separator: "\n") where line.hasPrefix(name + ":") {
      return (line.split(separator: " ").dropFirst().first.flatMap { Int($0) } ?? 0) * 1024
    }
    return 0
  }
}
