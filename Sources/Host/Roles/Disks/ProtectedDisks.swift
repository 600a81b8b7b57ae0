import Glibc
import Migration
import Store
import TLS
import Transport

/// The disks of one guest at its standby, and their server.
final class ProtectedDisks: Sendable {
  private let disks: [EpochDisk]
  private let server: DiskServer
  /// Where they are served.
  var endpoint: Endpoint { server.endpoint }

  /// Opens them and begins to serve.
  ///
  /// - Parameters:
  ///   - store: the path of the store that will hold the guest.
  ///   - tls: what mirrors have to come by; nil: none can.
  ///   - log: gets a line when a mirror comes or goes.
  init(
    _ options: DiskOptions, store: String, timeout: Double, tls: TLSCredentials?,
    log: @escaping @Sendable (String) -> Void
  ) throws(Failure) {
    do {
      var (disks, names, images) = ([EpochDisk](), Set<String>(), Set<[UInt64]>())
      for disk in options.disks {
        guard names.insert(disk.name).inserted else {
          throw Failure(.usage, "disks", "two are named '\(disk.name)'")
        }
        let start: EpochDisk.Start =
          options.adopts ? .adopting : disk.isTrusted ? .trusted : .empty
        let opened = try EpochDisk(
          name: disk.name, image: disk.image, folder: disk.folder, start: start, store: store,
          mostBacklog: options.mostBacklog, log: log)
        guard images.insert(opened.image.identity).inserted else {
          throw Failure(.usage, "disks", "two are in the image \(disk.image)")
        }
        disks.append(opened)
      }
      self.disks = disks
      server = try DiskServer(
        disks, on: options.listen, timeout: timeout, tls: tls, insecure: options.insecure, log: log)
    } catch { throw Failure(error, at: "disks") }
  }

  /// What is known of each.
  var status: [(name: String, size: Int, status: EpochDisk.Status)] {
    disks.map { ($0.name, $0.image.size, $0.status) }
  }

  /// The same for a file.
  var reports: [DiskReport] { status.map(DiskReport.init) }

  /// Makes sure that a guest may be protected with them.
  func expectSynced() throws(Failure) {
    for disk in disks {
      do { try disk.expectSynced() } catch {
        throw Failure(
          .refused, "disk '\(disk.name)'", error.reason,
          hint:
            "at the primary: blockdev-mirror to this export, query-block-jobs until it is ready "
            + "and actively-synced, then migrate")
      }
    }
  }

  /// The guest is here as of the end of precopy and stands still: from here on what is written
  /// belongs to checkpoints.
  func protect() throws -> [Manifest.Disk] {
    try disks.map { disk in
      do { return try disk.protect() } catch { throw Self.failure(disk, error) }
    }
  }

  /// The primary is about to be told to stop its guest.
  func ask() { for disk in disks { disk.ask() } }

  /// The guest stands still.
  ///
  /// - Returns: the last epoch of each disk that belongs to the checkpoint.
  /// - Throws: where one is lost: no checkpoint is to be committed any more.
  func seal() throws -> [String: Int] {
    var epochs: [String: Int] = [:]
    for disk in disks {
      do { epochs[disk.name] = try disk.seal() } catch { throw Self.failure(disk, error) }
    }
    return epochs
  }

  /// Makes sure that nothing has happened to them since.
  func expectQuiet() throws {
    for disk in disks {
      do { try disk.expectQuiet() } catch { throw Self.failure(disk, error) }
    }
  }

  /// The checkpoint is committed; its guest is about to go on.
  func committed() { for disk in disks { disk.committed() } }

  /// Serves nothing any more, and puts into the images what is committed.
  func close() {
    server.close()
    for disk in disks { disk.close() }
  }

  private static func failure(_ disk: EpochDisk, _ error: any Error) -> any Error {
    let place = "disk '\(disk.name)'"
    guard let loss = error as? EpochDisk.Loss else { return Failure(error, at: place) }
    return DiskLoss(place: place, reason: loss.reason, disconnected: loss.disconnected)
  }
}

/// No more checkpoints can be taken of a disk. What that says of its primary is another's to find out.
struct DiskLoss: Error {
  /// Which disk.
  let place: String
  /// One line.
  let reason: String
  /// When its connection ended, if that is why.
  let disconnected: ContinuousClock.Instant?

  /// The primary lives, and goes on without us.
  var ofLiving: Failure {
    var failure = Failure.alive(place, reason)
    failure.hint = "the primary's guest goes on, without protection: protect it again"
    return failure
  }
}
