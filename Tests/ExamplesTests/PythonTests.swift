import Foundation
import PluginLoader
import TestSupport
import Testing

extension ExamplesTests {
  /// What a codec in Python does, be it good or bad, stays in its own process.
  @Suite("A prototype in Python", .serialized)
  struct PythonTests {
    /// A prototype with this codec, built and opened.
    private func backend(
      _ codec: String, in folder: TemporaryFolder, python: String = "python3"
    ) throws -> Backend {
      try skip(if: Language.python.unavailable, "a prototype in Python")
      try skip(if: MultiFDProcess.unavailable, "multifd plugins new")
      let prototype = folder("prototype")
      let written = try MultiFDProcess.run(
        ["plugins", "new", "proto", "--language", "python", "--dir", prototype])
      #expect(written.code == 0, "\(written)")
      try Data(codec.utf8).write(to: URL(filePath: prototype + "/codec.py"))
      // Where nobody answers, two seconds of waiting tell as much as ten.
      try Tool.run(["make", "-C", prototype, "CPPFLAGS=-I\(include) -DLIMIT=2", "PYTHON=\(python)"])
      return try PluginLoader(
        searchPath: PluginSearchPath(explicit: [prototype], environment: [:], executable: "")
      ).load(named: "proto")
    }

    /// A codec whose two halves have these bodies.
    private func codec(
      encode: String = "return b''.join(pages)[:1]", decode: String = "return []"
    ) -> String {
      """
      import os, sys, time
      class Codec:
        def __init__(self, page_size, page_count):
          pass
        def encode(self, pages):
          \(encode)
        def decode(self, payload, count):
          \(decode)
      """
    }

    private func sender(_ backend: Backend, log: BackendLog? = nil) throws -> SendChannel {
      try backend.makeSender(
        id: 0, channels: 1, pageSize: 4096, pageCount: 128, options: backend.parse([]), log: log)
    }

    /// What sending two pages fails with.
    private func failure(_ channel: SendChannel) throws -> PluginError {
      let memory = try Memory(pages: 2)
      return try #require(throws: PluginError.self) {
        _ = try channel.payload(memory, [0, 4096], packet: 0)
      }
    }

    @Test(
      "a codec that does not answer is an error with a text",
      arguments: [
        ("os._exit(3)", "python3 has ended by itself, with status 3"),
        ("os.kill(os.getpid(), 9)", "python3 has ended by signal 9"),
        ("time.sleep(100)", "python3 has not answered for 2 seconds"),
        ("os.write(3, b'x' * 100)", "python3 speaks nonsense"),
        ("os.write(3, b'O' + bytes(3) + b'y' * 4)", "python3 speaks nonsense"),
        ("os.close(3); time.sleep(100)", "python3 has ended by signal 9"),
        ("while True: print('again')", "python3 has not answered for 2 seconds"),
      ])
    func silent(_ body: String, _ why: String) throws {
      let folder = try TemporaryFolder()
      let channel = try sender(backend(codec(encode: body), in: folder))
      let error = try failure(channel)
      #expect(error.kind == .internalFault && error.why.contains(why), "\(error)")
      channel.close()
    }

    @Test("an exception is an error with its line")
    func exception() throws {
      let folder = try TemporaryFolder()
      let error = try failure(sender(backend(codec(encode: "raise KeyError(pages)"), in: folder)))
      #expect(error.why.contains("codec.py, line 6: KeyError: "), "\(error)")
    }

    @Test(
      "a codec that cannot be loaded is an error in setup",
      arguments: [
        ("def encode(:", "SyntaxError: "), ("import no_such_module", "codec.py, line 1: ModuleNo"),
        ("import sys; sys.exit(4)", "python3 has ended by itself, with status 4"),
        ("Kodec = 1", "AttributeError: "),
      ])
    func unloadable(_ text: String, _ why: String) throws {
      let folder = try TemporaryFolder()
      let backend = try backend(text + "\n", in: folder)
      let error = try #require(throws: PluginError.self) { _ = try sender(backend) }
      #expect(error.why.contains(why), "\(error)")
    }

    @Test("it imports what the Python has with which it was built")
    func packages() throws {
      try skip(if: Language.python.unavailable, "a prototype in Python")
      let folder = try TemporaryFolder()
      let environment = folder("environment")
      try Tool.run(["python3", "-m", "venv", "--without-pip", environment])
      try Tool.run([
        "sh", "-c",
        "cd \(environment)/lib/python3*/site-packages && echo 'letter = b\"y\"' >some_package.py",
      ])
      let text = "import some_package\n" + codec(encode: "return some_package.letter")
      let channel = try sender(
        backend(text, in: folder, python: environment + "/bin/python3"))
      let memory = try Memory(pages: 1)
      #expect(try channel.payload(memory, [0], packet: 0) == [1] + Array("y".utf8))
    }

    @Test("its process has nothing of the host's but the socket, and a session of its own")
    func confined() throws {
      let folder = try TemporaryFolder()
      let body = "raise ValueError(f\"{os.listdir('/proc/self/fd')} {os.getsid(0) - os.getpid()}\")"
      let error = try failure(sender(backend(codec(encode: body), in: folder)))
      // The fourth is the folder that is being read.
      #expect(error.why.contains("ValueError: ['0', '1', '2', '3', '4'] 0"), "\(error)")
    }

    @Test("with its channel ends the process, and what that has started")
    func ended() throws {
      let folder = try TemporaryFolder()
      let body =
        "raise ValueError((os.getpid(), os.spawnlp(os.P_NOWAIT, 'sleep', 'sleep', '99')))"
      let channel = try sender(backend(codec(encode: body), in: folder))
      let text = try failure(channel).why
      let list = try #require(text.firstMatch(of: /\((\d+), (\d+)\)/))
      let (python, sleep) = (try #require(Int32(list.1)), try #require(Int32(list.2)))
      #expect(kill(python, 0) == 0 && kill(sleep, 0) == 0)
      channel.close()
      #expect(kill(python, 0) == -1 && errno == ESRCH)
      // Whoever has inherited it reaps it in its own time.
      #expect(eventually { isGone(sleep) })
    }

    /// Whether a process is not there, or only waits to be reaped.
    private func isGone(_ pid: Int32) -> Bool {
      guard let status = try? String(contentsOfFile: "/proc/\(pid)/stat", encoding: .utf8) else {
        return true
      }
      return status.contains(") Z ")
    }

    @Test("what it prints is in the host's log")
    func prints() throws {
      let folder = try TemporaryFolder()
      let body = "print('pages:', len(pages)); print('two', file=sys.stderr); return b'x'"
      let backend = try backend(codec(encode: body), in: folder)
      let lines = Lines()
      let channel = try sender(backend, log: { lines.add("\($0) \($1)") })
      let memory = try Memory(pages: 2)
      #expect(try channel.payload(memory, [0, 4096], packet: 0) == [1] + Array("x".utf8))
      #expect(lines.all == ["info pages: 2", "info two"])
    }

    @Test(
      "what a hostile payload makes of a codec is corrupt, or memory that it does not get",
      arguments: [
        ("raise IndexError('beyond')", PluginError.Kind.corrupt, "line 8: IndexError: beyond"),
        ("return [bytes(4096)] * (count + 1)", .corrupt, "other pages"),
        ("return [bytes(100)] * count", .corrupt, "other pages"),
        ("return [bytes(4 << 30)]", .noMemory, "python3 has no memory left"),
      ])
    func hostile(_ body: String, _ kind: PluginError.Kind, _ why: String) throws {
      let folder = try TemporaryFolder()
      let backend = try backend(codec(decode: body), in: folder)
      let source = PayloadBytes()
      let receive = try backend.makeReceiver(
        id: 0, channels: 1, pageSize: 4096, pageCount: 128, options: backend.parse([]),
        source: source)
      source.bytes = [1, 2, 3]
      let memory = try Memory(pages: 2)
      let error = try #require(throws: PluginError.self) {
        try receive.take(source, memory, [0, 4096], packet: 0)
      }
      #expect(error.kind == kind && error.why.contains(why), "\(error)")
    }

    @Test("its own codec does not expand what is more than the pages")
    func bomb() throws {
      try skip(if: Language.python.unavailable, "a prototype in Python")
      let codec = root + "/Sources/Host/Skeletons/python/codec.py"
      // A gigabyte of zeroes, announced as one page, with the memory that a page is worth.
      try Tool.run([
        "python3", "-c",
        """
        import resource, sys, zlib
        spaces = {}
        exec(open(sys.argv[1]).read(), spaces)
        codec = spaces["Codec"](4096, 128)
        packer = zlib.compressobj(9)
        bomb = b"".join(packer.compress(bytes(1 << 20)) for _ in range(1024)) + packer.flush()
        used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        try:
          codec.decode(bomb, 1)
        except ValueError:
          grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - used
          sys.exit(0 if grown < 1024 else f"{grown} KiB")
        sys.exit("accepted")
        """, codec,
      ])
    }
  }
}

/// Lines that some thread has said.
private final class Lines: Sendable {
  private let lines = Monitor<[String]>([])
  var all: [String] { lines.update { $0 } }
  func add(_ line: String) { lines.update { $0.append(line) } }
}
