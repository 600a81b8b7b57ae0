import Foundation
import Migration
import Roles
import TestSupport
import Testing
import Transport

@Suite("The control socket", .serialized)
struct ControlSocketTests {
  private let folder: TemporaryFolder
  private let socket: ControlSocket
  private var path: String { folder("control") }

  init() throws {
    folder = try TemporaryFolder()
    let echo: ControlSocket.Order = { ["echo": $0] }
    let refuse: ControlSocket.Order = { _ throws(Failure) in
      throw Failure(.refused, "relay", "not now")
    }
    socket = try ControlSocket(
      at: folder("control"), version: "1.2", orders: ["echo": echo, "refuse": refuse])
  }

  private func connect() throws -> Int32 { try #require(Sockets.connect(unix: path)) }

  /// Reads a line, as far as it comes.
  private func line(_ descriptor: Int32) -> String {
    var (text, byte): ([UInt8], [UInt8]) = ([], [0])
    while Sockets.read(descriptor, &byte) == 1, byte[0] != 10 { text.append(byte[0]) }
    return String(decoding: text, as: UTF8.self)
  }

  @Test("It speaks QMP, and is its user's alone")
  func qmp() throws {
    var status = stat()
    try #require(lstat(path, &status) == 0)
    #expect(status.st_mode & 0o777 == 0o600)
    // What talks to QEMUs talks to it, several at a time.
    let clients = try (0..<3).map { _ in try QMPSocket(.unix(path: path), within: 5) }
    for client in clients {
      #expect(
        try client.execute("echo", ["a": 1], within: 5, outOfBand: false) == ["echo": ["a": 1]])
      let commands = try client.execute("query-commands", .null, within: 5, outOfBand: false)
      #expect(commands.elements.compactMap { $0["name"].string } == ["echo", "refuse"])
      let error = #expect(throws: MonitorError.self) {
        try client.execute("refuse", .null, within: 5, outOfBand: false)
      }
      #expect(error?.kind == .refused && error?.description == "refuse: relay: not now")
    }
    socket.close()
    #expect(throws: Failure.self) { try QMPSocket(.unix(path: path), within: 1) }
  }

  @Test("What is no command is answered, and what is no line ends the connection")
  func hostile() throws {
    let client = try connect()
    defer { close(client) }
    #expect(
      line(client) == #"{"QMP":{"capabilities":[],"version":{"multifd":"1.2"}}}"#)
    let said = [
      ("nonsense", #"{"error":{"class":"GenericError","desc":"this is no JSON"}}"#),
      (
        "[1]", #"{"error":{"class":"GenericError","desc":"a command is {\"execute\": NAME}"}}"#
      ),
      (
        #"{"execute": "rm", "id": "x"}"#,
        #"{"error":{"class":"CommandNotFound","desc":"there is no command 'rm' here"},"id":"x"}"#
      ),
      (#"{"execute": "echo"}"#, #"{"return":{"echo":null}}"#),
    ]
    for (command, answer) in said {
      Sockets.write(client, Array((command + "\n").utf8)[...])
      #expect(line(client) == answer)
    }
    Sockets.write(client, [UInt8](repeating: 0x61, count: 1 << 17)[...])
    #expect(line(client) == "")
  }

  @Test("However many are silent, the next one is answered")
  func crowd() throws {
    let silent = try (0..<60).map { _ in try connect() }
    defer { for descriptor in silent { close(descriptor) } }
    let client = try QMPSocket(.unix(path: path), within: 20)
    #expect(try client.execute("echo", .null, within: 20, outOfBand: false) == ["echo": .null])
  }

  @Test("A socket that somebody listens at is left alone")
  func taken() throws {
    let error = #expect(throws: Failure.self) {
      try ControlSocket(at: path, version: "", orders: [:])
    }
    #expect(error?.why.contains("somebody listens there already") == true)
    #expect(try QMPSocket(.unix(path: path), within: 5).takesOutOfBand == false)
  }
}
