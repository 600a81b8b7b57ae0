import PluginAPI

/// A lane whose packets are made with reference images.
///
/// An image has the packet's pages and no other. It is never the same memory on both sides, and
/// neither side's may be touched any longer when its call has returned.
final class ReferenceLane {
  let source: Block
  /// Another sender, of which the same bytes are expected.
  var twin: SendDriver?
  private let lane: Lane
  /// Images of the packet before: a pointer that is kept into them is told from any other.
  private var old: [Block] = []

  init(_ lane: Lane) {
    self.lane = lane
    source = lane.source
  }

  /// There and back, without a reference where `image` is nil. Returns the payload.
  @discardableResult
  func pass(_ offsets: [UInt64], _ image: Block?) throws(Stop) -> Payload {
    let context = lane.context
    let copy = image.map { Block(copyOf: $0) }
    let payload = lane.sender.prepare(source, offsets, reference: image)
    try context.demand(payload.status, "send_prepare()")
    if let twin {
      let other = twin.prepare(source, offsets, reference: copy)
      context.check(
        other.bytes == payload.bytes, as: "determinism/placement",
        "the payload depends on where the reference image lies")
    }
    // Gone before the other side looks, so that it looks at its own.
    image?.allow(.nothing, kind: .staleBlock)
    lane.target.poison()
    let status = lane.receiver.receive(payload.bytes, lane.target, offsets, reference: copy)
    copy?.allow(.nothing, kind: .staleBlock)
    old = [image, copy].compactMap { $0 }
    try context.require(
      status.isOK,
      "recv() returns \(status) for pages \(image == nil ? "without" : "with") a reference")
    try lane.compare(offsets)
    return payload
  }

  /// Ends both sides.
  func close() { lane.close() }
}
