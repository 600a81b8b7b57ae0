/// A guest's RAM: by block, then by offset, the pages that are not known to be zero.
public typealias GuestImage = [[UInt64: [UInt8]]]

extension StreamScript {
  /// The guest as it should be after the migration (index 0) and after each complete checkpoint, by
  /// the naive model.
  public func images() throws -> [GuestImage] {
    var model = try PageModel(self)
    var images: [GuestImage] = []
    for step in steps() {
      try model.apply(step)
      switch step {
      case .precopyComplete, .checkpointComplete: images.append(model.committed)
      default: break
      }
    }
    return images
  }
}
