import Foundation

// What is left of one that is not as it should be.
extension WholeGuest {
  /// What the processes have said at last.
  public var complaints: String {
    func end(_ process: MultiFDProcess?) -> String {
      process.map { "\($0.process.errors.text.suffix(400))" } ?? "-"
    }
    return "standby: \(end(standby)) protect: \(end(protect)) primary: \(primary.complaints)"
  }

  /// Copies store and images, as they are, into a new folder: for a look at what is wrong.
  public func keep(in path: String) throws {
    try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    let record = setup.records ? [memory("record")] : []
    for part in [store, folder("standby"), folder("primary")] + record {
      let copy = try ChildProcess(["/bin/cp", "-a", "--sparse=always", part, path])
      guard copy.wait(.seconds(120)) == .code(0) else {
        throw LabError("keeping \(part): \(copy.errors.text)")
      }
    }
    let said = [
      "complaints": complaints, "console": primary.console.log.text,
      "standby.stderr": standby.process.errors.text, "protect.stderr": protect?.process.errors.text,
      "protect.stdout": protect?.process.output.text,
    ]
    for (name, text) in said {
      try text?.write(toFile: path + "/" + name, atomically: false, encoding: .utf8)
    }
  }
}
