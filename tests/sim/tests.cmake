# floe-sim plays seeds of the whole cluster; ctest plays a bounded number of them, label sim.
set(FLOE_SIM_MAIN ${CMAKE_CURRENT_LIST_DIR}/sim_main.c ${CMAKE_CURRENT_LIST_DIR}/sim_run.c
  ${CMAKE_CURRENT_LIST_DIR}/sim_mutants.c)
if(NOT FLOE_SANITIZE) # sanitizers have an allocator of their own
  list(APPEND FLOE_SIM_MAIN ${CMAKE_CURRENT_LIST_DIR}/sim_malloc.c)
  set_source_files_properties(${CMAKE_CURRENT_LIST_DIR}/sim_malloc.c PROPERTIES COMPILE_OPTIONS "-fno-builtin")
endif()
add_executable(floe-sim ${FLOE_SIM_MAIN})
target_link_libraries(floe-sim PRIVATE floe_test_support)
set_target_properties(floe-sim PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR})

# floe-sim-mutants: the same, with the modules of the core built a second time so that a planted bug can be chosen
# (<floe/base/mutant.h>). Its objects come before the library, which then gives only the rest.
file(GLOB FLOE_MUTABLE CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/src/base/mutant.c)
foreach(module table lease log retain catalog group txn api_kafka)
  file(GLOB sources CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/src/${module}/*.c)
  list(APPEND FLOE_MUTABLE ${sources})
endforeach()
list(APPEND FLOE_MUTABLE ${CMAKE_SOURCE_DIR}/src/broker/core.c ${CMAKE_SOURCE_DIR}/src/broker/reappend.c)
add_library(floe_mutable OBJECT ${FLOE_MUTABLE})
target_compile_definitions(floe_mutable PUBLIC FLOE_MUTANTS)
target_include_directories(floe_mutable PRIVATE ${CMAKE_SOURCE_DIR}/include ${FLOE_GEN} ${CMAKE_SOURCE_DIR}/src)
target_link_libraries(floe_mutable PRIVATE PkgConfig::FLOE_DEPS)
add_dependencies(floe_mutable floe_lib) # its generated headers
add_executable(floe-sim-mutants ${FLOE_SIM_MAIN} $<TARGET_OBJECTS:floe_mutable>)
target_compile_definitions(floe-sim-mutants PRIVATE FLOE_MUTANTS)
target_link_libraries(floe-sim-mutants PRIVATE floe_test_support)
set_target_properties(floe-sim-mutants PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR})

add_test(NAME sim.seeds COMMAND floe-sim --seeds 1..40 --seconds 40 --jobs 2)
add_test(NAME sim.groups COMMAND floe-sim --seeds 1..20 --groups --seconds 30 --jobs 2)
add_test(NAME sim.mixed COMMAND floe-sim --seeds 1..12 --theme mixed --seconds 30 --jobs 2)
add_test(NAME sim.convert COMMAND floe-sim --seeds 1..8 --theme convert --seconds 30 --jobs 2)
add_test(NAME sim.failed COMMAND floe-sim --file ${CMAKE_CURRENT_LIST_DIR}/failed-seeds.txt --jobs 2)
add_test(NAME sim.replay COMMAND floe-sim --seeds 1..5 --twice)
add_test(NAME sim.mutants COMMAND floe-sim-mutants --check ${CMAKE_CURRENT_LIST_DIR}/mutants.txt --jobs 2 --seconds 120)
add_test(NAME sim.mutants.rare COMMAND floe-sim-mutants --check ${CMAKE_CURRENT_LIST_DIR}/mutants.txt --rare --jobs 2)
# Promises of the store that nothing survives when they are broken: the checker must see it. (LIST and DELETE decide
# nothing alone: a cluster survives a store that is wrong about them, and must.)
foreach(promise create-overwrites replace-ignored get-stale put-vanishes body-corrupted)
  add_test(NAME sim.break.${promise} COMMAND floe-sim --break ${promise} --seeds 1..1000 --jobs 2)
  set_tests_properties(sim.break.${promise} PROPERTIES LABELS sim TIMEOUT 300)
endforeach()
foreach(promise list-misses-fresh delete-resurrects)
  add_test(NAME sim.break.${promise} COMMAND floe-sim --break ${promise} --seeds 1..15 --jobs 2)
  set_tests_properties(sim.break.${promise} PROPERTIES LABELS sim TIMEOUT 300 WILL_FAIL TRUE)
endforeach()
set_tests_properties(sim.seeds sim.mixed sim.convert sim.failed sim.groups sim.replay sim.mutants PROPERTIES LABELS sim TIMEOUT 300)
set_tests_properties(sim.mutants.rare PROPERTIES LABELS sim-mutants TIMEOUT 3600) # by hand: ctest -L sim-mutants
