/**
 * Types of the API (openapi.json), for the checker; there is no code here.
 *
 * @typedef {object} Message an object of docs/jsonl with its permalink, boot and the sender's name
 * @property {string} id
 * @property {number} received_at
 * @property {string} address
 * @property {number} port
 * @property {string | null} [name]
 * @property {string} format
 * @property {number | null} level
 * @property {number | null} facility
 * @property {number | null} seq
 * @property {number | null} ts_usec
 * @property {string | null} caller
 * @property {string} text
 * @property {Record<string, string>} dictionary
 * @property {Record<string, string>} userdata
 * @property {number | null} cpu
 * @property {string | null} taskname
 * @property {number | null} msgid
 * @property {string | null} release
 * @property {boolean} continuation
 * @property {boolean} new
 * @property {boolean} boot
 * @property {number} [boot_id]
 * @property {boolean} replayed
 * @property {boolean} out_of_order
 * @property {boolean} incomplete
 * @property {number} missing
 * @property {number | null} lost
 * @property {number} likely_lost
 * @property {number} limited
 *
 * @typedef {object} Finding a crash report or an event
 * @property {string} [format]
 * @property {string} [title]
 * @property {string} [kind]
 * @property {string} [severity]
 * @property {string} [text]
 * @property {string} [group]
 * @property {string} [address]
 * @property {{address: string, port: number} | null} [source]
 * @property {number} received_at
 * @property {Record<string, string | number>} [details]
 *
 * @typedef {object} Row
 * @property {"message" | "gap" | "boot" | "event" | "crash" | "day"} kind
 * @property {number} time
 * @property {string} address
 * @property {string | null} [name] of the machine
 * @property {string} text
 * @property {Message} [message]
 * @property {Finding} [finding]
 * @property {string} [form]
 *
 * @typedef {object} Host
 * @property {string} address
 * @property {number} port
 * @property {string | null} [name]
 * @property {number} first
 * @property {number} last
 * @property {number} messages
 * @property {number[]} levels
 * @property {number} boots
 * @property {number | null} boot
 * @property {string | null} release
 * @property {number | null} lost null if unknown
 * @property {number} likely_lost
 * @property {number} limited
 * @property {Record<string, string>} userdata
 * @property {number} crashes
 * @property {number} silent_for
 *
 * @typedef {object} Boot
 * @property {number} boot
 * @property {number} first
 * @property {number} last
 * @property {number} messages
 * @property {number} lost
 * @property {string | null} release
 * @property {string | null} how_ended
 * @property {number} crashes
 *
 * @typedef {object} Group
 * @property {string} id
 * @property {string} title
 * @property {string} kind
 * @property {string} severity
 * @property {"new" | "known" | "resolved" | "regressed"} state
 * @property {boolean} muted
 * @property {number} count
 * @property {number} fatal
 * @property {number} incomplete
 * @property {Record<string, [number, number, number]>} machines
 * @property {Record<string, [number, number, number]>} releases
 * @property {number} first
 * @property {number} last
 * @property {number[]} [sparkline]
 * @property {string | null} [lone_machine]
 * @property {{id: string, title: string, who?: string, when?: number, why?: string}[]} [merged_from]
 * @property {string[]} [why]
 * @property {Record<string, string | null>} [names_of]
 * @property {string | null} [new_in]
 *
 * @typedef {object} Status
 * @property {string} version
 * @property {string} [build]
 * @property {number} started
 * @property {number} now
 * @property {{directory: string, first: number | null, last: number | null, segments?: number, bytes?: number} | null} store
 * @property {boolean} read_only
 * @property {boolean} receiving
 * @property {number | null} [port] of UDP
 * @property {string | null} [user]
 * @property {boolean} [login] whether there is a session that can end
 * @property {string | null} [csrf]
 */
export {};
