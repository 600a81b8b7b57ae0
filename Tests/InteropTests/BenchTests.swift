import Foundation
import TestSupport
import Testing

/// `multifd bench checkpoint`, with checkpoints enough to see that it measures; what it measures is
/// not asked.
@Suite("bench checkpoint", .serialized, .apart)
struct BenchTests {
  static let version = QEMUVersion.v111
  static let qemu = Lab.executableFolder + "/multifd-lab qemu \(version.rawValue)"

  private func bench(_ arguments: [String]) throws -> MultiFDProcess.Result {
    try MultiFDProcess.run(["bench", "checkpoint", "--accel", "tcg", "--delay", "50"] + arguments)
  }

  @Test(
    "Our standby and a stock secondary, with and without multifd",
    .enabled(
      if: version.isAvailableElseAnnounce("bench checkpoint"), "SKIPPED: QEMU 11.1 is not here"))
  func table() throws {
    let folder = try TemporaryFolder()
    let result = try bench([
      "--primary", Self.qemu, "--secondary", Self.qemu, "--channels", "0,2", "--load", "16",
      "--checkpoints", "4", "--memory", "128", "--working-set", "16", "--json", "--svg",
      folder("chart.svg"),
    ])
    #expect(result.code == 0, "\(result)")
    let table = result.json
    #expect(table["primary"].string?.hasPrefix("11.") == true)
    let rows = table["rows"].elements
    try #require(rows.count == 4, "\(result)")
    for (index, row) in rows.enumerated() {
      #expect(row["secondary"].string == (index % 2 == 0 ? "multifd" : "stock"))
      #expect(row["channels"].int == (index < 2 ? 0 : 2) && row["load"].int == 16)
      let (pause, transfer) = (row["pause"], row["transfer"])
      #expect(pause["count"].int == 4 && transfer["count"].int ?? 0 >= 3, "\(row.text)")
      #expect(pause["mean"].double ?? 0 > 0 && transfer["mean"].double ?? 0 > 0)
      #expect(pause["max"].double ?? 0 >= pause["p50"].double ?? 1)
      #expect(row["commit"]["count"].int ?? 0 >= 3)
      if index % 2 == 0 {
        // 16 MiB/s for 50 ms and more are 200 pages; a slow machine's guest may fall behind.
        #expect(row["pages"].double ?? 0 > 20)
      }
    }
    let chart = try String(contentsOfFile: folder("chart.svg"), encoding: .utf8)
    #expect(chart.hasPrefix("<svg") && chart.contains("plain, 16 MiB/s"))
    let left = try FileManager.default.contentsOfDirectory(atPath: "/dev/shm")
    #expect(!left.contains { $0.hasPrefix("multifd-bench") })
  }

  @Test("A row that cannot be measured is told, and the others are")
  func failingRow() throws {
    guard Self.version.isAvailableElseAnnounce("bench checkpoint, a bad secondary") else { return }
    let result = try bench([
      "--primary", Self.qemu, "--secondary", "/bin/false", "--channels", "0", "--load", "0",
      "--checkpoints", "2", "--memory", "96",
    ])
    #expect(result.code == 1, "\(result)")
    let lines = result.output.split(separator: "\n").filter { $0.hasPrefix("plain") }
    try #require(lines.count == 2, "\(result)")
    #expect(!lines[0].contains("FAILED") && lines[1].contains("FAILED: qemu: it ended at once"))
  }

  @Test("No QEMU at all, and wrong use")
  func wrong() throws {
    let nothing = try bench(["--primary", "/nonexistent/qemu"])
    #expect(nothing.code == 1, "\(nothing)")
    #expect(nothing.errorLine?.contains("cannot start /nonexistent/qemu") == true, "\(nothing)")
    for arguments in [
      ["--channels", "x"], ["--channels", "256"], ["--load", "-1"], ["--compression", "lz4"],
      ["--checkpoints", "0"], ["--memory", "64"], ["--primary", ""],
    ] {
      let result = try bench(["--primary", "/bin/false"] + arguments)
      #expect(result.code == 64, "\(arguments): \(result)")
    }
  }

  @Test("A signal ends it, and its QEMUs with it")
  func signal() throws {
    guard Self.version.isAvailableElseAnnounce("bench checkpoint, interrupted") else { return }
    let folder = try TemporaryFolder()
    let bench = try MultiFDProcess([
      "bench", "checkpoint", "--accel", "tcg", "--primary", Self.qemu, "--memory", "96",
      "--working-set", "16", "--folder", folder.path,
    ])
    _ = bench.process.errors.wait(.seconds(30)) { $0.text.contains("checkpoints") ? true : nil }
    Thread.sleep(forTimeInterval: 1.5)
    bench.process.kill(SIGTERM)
    let result = try bench.wait(.seconds(20))
    #expect(result.code == 128 + SIGTERM, "\(result)")
    #expect(try FileManager.default.contentsOfDirectory(atPath: folder.path).isEmpty)
  }
}
