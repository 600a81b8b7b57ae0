import Foundation

/// A standby's images served by a stock QEMU that knows of no checkpoints: each write is in the
/// image as soon as it is answered. What a guest finds there after a failover is newer than its
/// memory, and the lab must see that.
public final class PlainDisks: Sendable {
  /// Where they are served.
  public let port: Int
  private let qemu: ChildProcess
  private let folder: TemporaryFolder

  /// Serves images under names.
  public init(_ images: [String], _ names: [String]) throws {
    folder = try TemporaryFolder()
    port = try Sockets.freePort()
    let nodes = zip(images, names).flatMap { image, name in
      [
        "-blockdev",
        "driver=raw,node-name=\(name),file.driver=file,file.filename=\(image),file.locking=off",
      ]
    }
    qemu = try ChildProcess(
      QEMUVersion.v111.command(
        [
          "-machine", "none", "-nodefaults", "-no-user-config", "-display", "none", "-qmp",
          "unix:\(folder("qmp")),server=on,wait=off",
        ] + nodes))
    let qmp = try QMPClient(path: folder("qmp")) { [qemu] in qemu.isRunning }
    try qmp.execute(
      "nbd-server-start",
      [
        "addr": ["type": "inet", "data": ["host": "127.0.0.1", "port": .string("\(port)")]]
      ])
    for name in names {
      try qmp.execute(
        "block-export-add",
        [
          "type": "nbd", "id": .string("e-" + name), "node-name": .string(name),
          "name": .string(name), "writable": true,
        ])
    }
  }

  deinit { end() }

  /// Ends the server, as the crash of its machine would.
  public func end() {
    qemu.kill()
    _ = qemu.wait(.seconds(10))
    folder.remove()
  }
}
