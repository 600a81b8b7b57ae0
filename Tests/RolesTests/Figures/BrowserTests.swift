import Foundation
import TestSupport
import Testing

/// The page at `/`, as a browser shows it.
@Suite("The page of figures, in a browser")
struct BrowserTests {
  /// One that draws without a display; nil where there is none.
  private static let browser = ["chromium", "chromium-browser", "google-chrome"]
    .map { "/usr/bin/\($0)" }.first { FileManager.default.isExecutableFile(atPath: $0) }

  /// What a browser prints of a page, after so many seconds of its own time.
  private func browse(_ port: Int, _ arguments: [String]) throws -> String {
    let profile = try TemporaryFolder()
    defer { profile.remove() }
    let process = try ChildProcess(
      [
        try #require(Self.browser), "--headless", "--no-sandbox", "--disable-gpu",
        "--disable-dev-shm-usage", "--no-first-run", "--user-data-dir=" + profile.path,
        "--window-size=1000,900", "--virtual-time-budget=5000",
      ] + arguments + ["http://127.0.0.1:\(port)/"])
    let exit = process.wait(.seconds(60))
    process.kill()
    #expect(exit == .code(0), "\(process.errors.text.suffix(2000))")
    return process.output.text
  }

  @Test("It shows what a standby is doing, by itself and with nothing from elsewhere")
  func standby() throws {
    guard Self.browser != nil else {
      SkipReason("there is no browser: apt-get install chromium").announce("browser")
      try Test.cancel("SKIPPED: there is no browser")
    }
    let standby = try StandbyProcess(["--metrics", "tcp:127.0.0.1:0"])
    let primary = try Primary(RoleFiguresTests.script, to: standby.uri)
    defer { primary.close() }
    try primary.play(upTo: 3)
    let prefix = "multifd: metrics on tcp:127.0.0.1:"
    let port = try #require(
      standby.multifd.process.errors.wait(.seconds(20)) { line in
        line.text.hasPrefix(prefix) ? Int(line.text.dropFirst(prefix.count)) : nil
      })
    let page = try browse(port, ["--dump-dom"])
    for text in [
      "<title>standby: committed</title>", "<b>3</b><span>checkpoint</span>",
      "<b>ready</b><span>failover</span>", "aria-label=\"Age of the last commit\"",
      "<td>main</td>", "<td>1</td>",
    ] { #expect(page.contains(text), "\(text): \(page)") }
    // A line has been drawn, of more than one point.
    #expect(page.contains(/<path stroke="#c60" d="M[0-9. ]+L/), "\(page)")
    guard let picture = ProcessInfo.processInfo.environment["MULTIFD_PICTURE"] else { return }
    _ = try browse(port, ["--screenshot=" + picture])
    #expect(FileManager.default.fileExists(atPath: picture))
  }
}
