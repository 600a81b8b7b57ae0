import TestSupport
import Testing

/// The way of docs/standby.md from its beginning to its end, as the lab goes it.
@Suite("A guest that has failed over")
struct AndBackTests {
  @Test(
    "It is protected again, fails over again, and is moved to another QEMU; its memory is whole",
    .enabled(
      if: QEMUVersion.v111.isAvailableElseAnnounce("the way back after a failover"),
      "SKIPPED: QEMU 11.1 or its guest is not here"))
  func andBack() throws {
    let lab = try ChildProcess([
      Lab.executableFolder + "/multifd-lab", "colo", "--and-back", "--checkpoints", "4", "--seed",
      "5",
    ])
    let exit = lab.wait(.seconds(180))
    let said = "\(lab.output.text) \(lab.errors.text.suffix(600))"
    #expect(exit == .code(0), "\(said)")
    #expect(lab.output.text.contains("failed over again, moved to another QEMU"), "\(said)")
    #expect(lab.output.text.contains("1 ok, 0 failed, 0 skipped"), "\(said)")
  }
}
