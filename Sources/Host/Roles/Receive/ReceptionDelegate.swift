import COLO
import Memory
import Migration
import Store
import Wire

/// What is to become of a guest that comes in: where receptions differ. A reception knows no
/// standby; a standby is built on a reception, and says here what is different for it.
protocol ReceptionDelegate: AnyObject {
  /// A first RAM section begins: the stream has shown by now whether its source is a COLO primary.
  func ramBegins(_ main: MainReceiver) throws
  /// The source is a COLO primary.
  func coloBegins() throws
  /// Where checkpoints of the guest will be kept.
  func makeCache(_ store: Store, _ blocks: [RAMBlock], pageSize: Int) throws -> COLOStage.Cache
  /// Adds to what the store will say.
  func describe(_ manifest: inout Manifest)
  /// Whether what is held has to outlive the machine, not only this process.
  var isDurable: Bool { get }
  /// A message of a COLO primary.
  func coloMessage(_ message: COLOMessage) throws
  /// The device state of a checkpoint follows, so many bytes; `take` fills a buffer with the next
  /// of them.
  func deviceState(size: Int, take: (UnsafeMutableRawBufferPointer) throws -> Void) throws
  /// More bytes are needed.
  ///
  /// - Returns: whether they have come; nil: the reception's own rules are to be followed.
  func arrive(_ missing: Int, at main: MainReceiver) throws -> Bool?
}

/// A guest is to be held, and that is all.
final class PlainReception: ReceptionDelegate {
  func ramBegins(_ main: MainReceiver) {}

  func coloBegins() throws {
    throw Failure(
      .refused, "main channel", "the source is a COLO primary, this is a plain reception",
      hint: "be its secondary with --colo, or turn off x-colo at the source")
  }

  func makeCache(_ store: Store, _ blocks: [RAMBlock], pageSize: Int) -> COLOStage.Cache { .none }

  func describe(_ manifest: inout Manifest) {}

  var isDurable: Bool { true }

  func coloMessage(_ message: COLOMessage) throws {
    throw Failure(.refused, "main channel", "the source runs COLO, this is a plain reception")
  }

  func deviceState(size: Int, take: (UnsafeMutableRawBufferPointer) throws -> Void) throws {
    // It is part of what a COLO message has begun.
    throw Failure(.corrupt, "main channel", "device state outside a checkpoint")
  }

  func arrive(_ missing: Int, at main: MainReceiver) -> Bool? { nil }
}
