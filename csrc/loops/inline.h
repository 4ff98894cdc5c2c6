/* inline: functions that are part of the loop that calls them. A loop with a call in it is no
 * vector code, and with many callers a compiler stops inlining by itself. */
#ifndef TT_INLINE

#define TT_INLINE static inline __attribute__((always_inline))

#endif
