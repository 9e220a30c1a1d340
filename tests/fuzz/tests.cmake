# Each fuzz_X.c (LLVMFuzzerTestOneInput) becomes
#  - under every preset a program that replays tests/fuzz/corpus/X and a few hundred deterministic mutations of
#    each seed (fuzz_main.c): ctest fuzz.X, labelled unit;
#  - with FLOE_LIBFUZZER (preset fuzz) a libFuzzer binary fuzz_X as well, to be run by hand.
set(FLOE_FUZZ_DIR ${CMAKE_CURRENT_LIST_DIR})
file(GLOB FLOE_FUZZ CONFIGURE_DEPENDS ${FLOE_FUZZ_DIR}/fuzz_*.c)
foreach(src ${FLOE_FUZZ})
  get_filename_component(name ${src} NAME_WE)
  if(name STREQUAL "fuzz_main")
    continue()
  endif()
  string(REGEX REPLACE "^fuzz_" "" short ${name})
  add_executable(replay_${short} ${src} ${FLOE_FUZZ_DIR}/fuzz_main.c)
  target_link_libraries(replay_${short} PRIVATE floe_test_support)
  add_test(NAME fuzz.${short} COMMAND replay_${short} ${FLOE_FUZZ_DIR}/corpus/${short})
  set_tests_properties(fuzz.${short} PROPERTIES LABELS unit TIMEOUT 300)
  if(FLOE_LIBFUZZER)
    add_executable(${name} ${src})
    target_compile_options(${name} PRIVATE -fsanitize=fuzzer)
    target_link_options(${name} PRIVATE -fsanitize=fuzzer)
    target_link_libraries(${name} PRIVATE floe_test_support)
  endif()
endforeach()
