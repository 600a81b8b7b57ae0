import Foundation

/// A guest that is being given away: from the moment before its taker gets the first byte with
/// which it could start the guest, until it is known who has it. Nothing else writes that a guest
/// is given away, or that it is not after all.
///
///     begin ---> handing-over ---> taken: handed-over
///                     |    '-----> refused: as before it was begun
///                     '----------> unknown: handing-over, as it is
///
/// So there are never two of the guest. What is said last is all that can be said: each of the
/// three ends the value. One that is dropped without a word, or whose process dies, was *unknown*:
/// nothing but a word of the taker's makes the guest ours again, or its.
///
/// It keeps the store locked, from what ``Store/open(_:handedOver:)`` has read on: nobody else can
/// hand the guest over beside it, in this process or in another.
///
/// A standby's lock does not pass to the process that fails over. The guardian could inherit it: a
/// lock of flock(2) belongs to the open file, and fork copies that. But then the two would share
/// it, and that the worker still has the store is what must keep the guardian out: a worker that
/// waits for storage which does not answer cannot be ended, and when the storage answers it goes
/// on, copying a checkpoint into what would be a running QEMU's memory. So the worker's lock goes
/// when the worker is gone, and who fails over takes its own. Whoever else comes first in between
/// has the store, and hands the guest over or not: of two that want it one finds it busy, or handed
/// over.
public struct HandOver: ~Copyable, Sendable {
  /// Why a hand-over was not begun: nobody has got anything.
  public struct NotBegun: Error {
    /// What failed.
    public let cause: StoreError
    /// The store says what it said before. If not, it may say `handing-over`.
    public let isAsBefore: Bool
  }

  private let store: Store
  private let before: Manifest
  private let begun: Manifest

  private init(_ store: Store, before: Manifest, begun: Manifest) {
    self.store = store
    self.before = before
    self.begun = begun
  }

  /// Says that the guest is about to be given away, durably. To be called before the first byte
  /// with which a taker could start it.
  ///
  /// - Parameters:
  ///   - taker: who is to get it, as whoever opens the store next is told.
  ///   - store: one that was opened for its guest.
  public static func begin(to taker: String, from store: Store) throws(NotBegun) -> HandOver {
    // A guest that has not come is nobody's to give.
    guard let before = store.opened else {
      throw NotBegun(
        cause: StoreError(outOfTurn: "\(store.path) was not opened for its guest"),
        isAsBefore: true)
    }
    do throws(StoreError) { try store.step(to: .handingOver) } catch {
      throw NotBegun(cause: error, isAsBefore: true)
    }
    var begun = before
    begun.state = .handingOver
    begun.handedOverTo = taker
    let handOver = HandOver(store, before: before, begun: begun)
    do throws(StoreError) { try store.write(begun) } catch {
      let cause = error
      do throws(StoreError) { try handOver.refused() } catch {
        throw NotBegun(cause: cause, isAsBefore: false)
      }
      throw NotBegun(cause: cause, isAsBefore: true)
    }
    return handOver
  }

  /// The taker has the guest, by its own word.
  ///
  /// - Parameters:
  ///   - taker: who it is.
  ///   - inPlace: it goes on in the store's own files, so that nothing here can be continued any
  ///     more.
  /// - Throws: if that could not be written: the store says `handing-over`, and the guest is the
  ///   taker's all the same.
  public consuming func taken(by taker: String, inPlace: Bool = false) throws(StoreError) {
    let store = store
    defer { if inPlace { store.note(state: "used") } }
    var manifest = begun
    manifest.state = .handedOver
    manifest.handedOverTo = "\(taker) at \(Date.now.formatted(.iso8601))"
    if inPlace { manifest.failedOver = true }
    try store.step(to: .handedOver)
    try store.write(manifest)
  }

  /// The taker does not have the guest, by its own word, or has not got what it would need to start
  /// it: the guest is ours as before.
  ///
  /// - Throws: if that could not be written: the store says `handing-over`.
  public consuming func refused() throws(StoreError) {
    try store.step(to: before.state, before: before.state)
    try store.write(before)
  }

  /// Nobody knows whether the taker has the guest: the store goes on saying `handing-over`.
  public consuming func unknown() {}

  /// The taker of a guest had said that it has it, and then the process that gave it away ended
  /// before it could write that. Nothing for a store that says `handed-over` already.
  public static func wasTaken(in path: String) throws(StoreError) {
    var (store, manifest) = try Store.open(path, handedOver: true)
    guard manifest.state != .handedOver else { return }
    try store.step(to: .handedOver)
    manifest.state = .handedOver
    try store.write(manifest)
  }
}
