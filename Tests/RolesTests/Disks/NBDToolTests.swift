import Foundation
import Roles
import SessionReplay
import TestSupport
import Testing

/// Clients of libnbd, where they are installed.
enum NBDTools {
  private static func path(_ name: String) -> String? {
    ["/usr/bin/", "/bin/", "/usr/local/bin/"].map { $0 + name }
      .first { FileManager.default.isExecutableFile(atPath: $0) }
  }

  /// Why there can be none; nil when there can.
  static let unavailable: SkipReason? = {
    guard path("nbdinfo") == nil || path("nbdcopy") == nil else { return nil }
    let reason = SkipReason("there is no nbdinfo and nbdcopy (apt-get install libnbd-bin)")
    reason.announce("the NBD server and clients of libnbd")
    return reason
  }()

  /// Runs one to its end: what it says.
  static func run(_ name: String, _ arguments: [String]) throws -> String {
    let child = try ChildProcess([path(name) ?? name] + arguments)
    let exit = child.wait(.seconds(60))
    guard exit == .code(0) else {
      throw LabError("\(name) \(arguments): \(String(describing: exit)), \(child.errors.text)")
    }
    return child.output.text
  }
}

@Suite(
  "The NBD server and other people's clients",
  .enabled(if: NBDTools.unavailable == nil, "SKIPPED: there is no nbdinfo and nbdcopy"), .beside)
struct NBDToolTests {
  @Test("nbdinfo sees the exports, and nbdcopy copies there and back")
  func tools() throws {
    let size = (8 << 20) + 512
    let place = try DiskPlace(2, size: size)
    let serving = try DiskServerTests.Serving(place)
    let socket = place("nbd")
    let list = try JSON(
      parsing: NBDTools.run("nbdinfo", ["--list", "--json", "nbd+unix:///?socket=\(socket)"]).utf8)
    let exports = list["exports"].elements
    #expect(exports.map { $0["export-name"].string } == ["disk0", "disk1"])
    #expect(
      exports.allSatisfy { $0["export-size"].int == size && $0["is_read_only"].bool == false })
    #expect(exports.allSatisfy { $0["can_fua"].bool == true && $0["can_multi_conn"].bool == false })

    let disk = place.disks[1]
    let original = place("original")
    // With holes: zeroes are asked for as such.
    var bytes = disk.contents
    bytes.replaceSubrange(1 << 20..<3 << 20, with: [UInt8](repeating: 0, count: 2 << 20))
    try Data(bytes).write(to: URL(filePath: original))
    let uri = "nbd+unix:///disk1?socket=\(socket)"
    _ = try NBDTools.run("nbdcopy", ["--flush", "--requests=32", original, uri])
    #expect(disk.atStandby == bytes)
    _ = try NBDTools.run("nbdcopy", [uri, place("back")])
    #expect(try Data(contentsOf: URL(filePath: place("back"))) == Data(bytes))
    #expect(place.disks[0].atStandby == [UInt8](repeating: 0, count: size))
    try serving.end()
  }
}
