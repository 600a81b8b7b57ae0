// What every skeleton has.

extension Skeleton {
  enum CommonFiles {
    /// README.md
    static let readme = #"""
      # @NAME@

      A compression backend for multifd: a library that the host opens, and that turns pages into payloads and back.

      ```
      make                                        # builds libmultifd-@NAME@.so
      make check                                  # multifd-harness: is it right, how fast is it
      make check ARGS=--quick                     # the same in some seconds
      multifd plugins show @NAME@ --plugin-dir .  # what the host sees of it
      make install                                # into the folder of backends
      ```

      What is here works. To make it yours:

      1. Replace `encode` and `decode` in `@CODEC@`. `make check` after every step.
      2. Write down the wire format below, so that somebody else could implement it.
      3. Say what it is: version and description in the table in `@TABLE@`; a MULTIFD_CAP_DETERMINISTIC that is no
         longer true goes.
      4. Give it options, if it needs any: a table of MultiFDOption, whose values come with `params->options`.

      The manual is Plugins.md, the contract is multifd_plugin.h.

      ## Wire format `@NAME@/1`

      A payload holds the pages of one packet, in the packet's order, and nothing of other packets. A packet without
      pages has an empty payload. Otherwise its first byte says what follows:

      | first byte | the rest |
      |---|---|
      | 0 | the pages as they are |
      | 1 | for each 512 bytes of the pages: a bitmap of 64 bits (little-endian), bit i set when word i (8 bytes) is not zero; then the words whose bit is set, in order |

      Whatever is shorter or longer than that is corrupt.

      """#

    /// plugin.map: what the library exports.
    static let map = """
      { global: multifd_plugin_entry; local: *; };

      """

    /// .gitignore
    static let ignored = """
      *.so
      target/

      """
  }
}
